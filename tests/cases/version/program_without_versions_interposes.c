//: file v1.map V1 { global: *; };
//: lib liba.so -Wl,--version-script=v1.map
//: lib libb.so -la
//: main -lb -la -rdynamic
//: stdout main

// A definition without version comes first in scope: it serves the versioned reference.
#ifdef LIB_A
const char *who(void) { return "a"; }
#elif defined LIB_B
const char *who(void);
const char *ask(void) { return who(); }
#else
#include <stdio.h>
const char *ask(void);
const char *who(void) { return "main"; }
int main(void) { puts(ask()); }
#endif

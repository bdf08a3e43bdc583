//: lib liba.so -Wl,-Bsymbolic
//: main -la -rdynamic
//: musl
//: stdout library

#ifdef LIB_A
const char *who(void) { return "library"; }
const char *(*pointer)(void) = who;
const char *ask(void) { return pointer(); }
#else
#include <stdio.h>
const char *ask(void);
const char *who(void) { return "main"; }
int main(void) { puts(ask()); }
#endif

//: file v.map { global: ask; local: *; };
//: lib liba.so -Wl,--version-script=v.map
//: lib libb.so
//: main -la -lb
//: musl
//: stdout a b

#ifdef LIB_A
const char *who(void) { return "a"; }
const char *ask(void) { return who(); }
#elif defined LIB_B
const char *who(void) { return "b"; }
#else
#include <stdio.h>
const char *who(void), *ask(void);
int main(void) { printf("%s %s\n", ask(), who()); }
#endif

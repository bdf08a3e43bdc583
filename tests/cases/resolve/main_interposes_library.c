//: lib liba.so
//: main -la -rdynamic
//: musl
//: stdout main
//: stdout main

#ifdef LIB_A
const char *who(void) { return "library"; }
const char *ask(void) { return who(); }
#else
#include <stdio.h>
const char *ask(void);
const char *who(void) { return "main"; }
int main(void) {
    puts(who());
    puts(ask());  // the library's call of its own exported function
}
#endif

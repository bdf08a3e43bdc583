//: lib liba.so
//: main -la -rdynamic
//: musl
//: stdout main
//: stdout library

#ifdef LIB_A
__attribute__((visibility("protected"))) const char *who(void) { return "library"; }
const char *ask(void) { return who(); }
#else
#include <stdio.h>
const char *ask(void);
const char *who(void) { return "main"; }
int main(void) {
    puts(who());
    puts(ask());
}
#endif

//: lib liba.so
//: lib libb.so
//: main -la -lb
//: musl
//: stdout b
//: stdout a

#ifdef LIB_A
__attribute__((visibility("hidden"))) const char *who(void) { return "a"; }
const char *ask(void) { return who(); }
#elif defined LIB_B
const char *who(void) { return "b"; }
#else
#include <stdio.h>
const char *who(void), *ask(void);
int main(void) {
    puts(who());
    puts(ask());
}
#endif

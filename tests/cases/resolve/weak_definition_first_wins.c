//: lib liba.so
//: lib libb.so
//: main -la -lb
//: musl
//: stdout weak

#ifdef LIB_A
__attribute__((weak)) const char *who(void) { return "weak"; }
#elif defined LIB_B
const char *who(void) { return "strong"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

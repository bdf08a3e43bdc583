//: lib liba.so
//: lib libb.so
//: main -la -lb
//: env LD_DYNAMIC_WEAK=1
//: stdout strong

// The rule before glibc 2.2, kept behind a variable: the first strong definition, else the first weak one.
#ifdef LIB_A
__attribute__((weak)) const char *who(void) { return "weak"; }
#elif defined LIB_B
const char *who(void) { return "strong"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

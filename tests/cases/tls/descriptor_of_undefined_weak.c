//: lib liba.so -mtls-dialect=gnu2
//: main -la
//: arch x86_64 i386 arm
//: stdout null

#ifdef LIB_A
extern __thread int nowhere __attribute__((weak));
int *address(void) { return &nowhere; }
#else
#include <stdio.h>
int *address(void);
int main(void) { puts(address() ? "something" : "null"); }
#endif

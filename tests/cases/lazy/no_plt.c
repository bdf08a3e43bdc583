//: lib liba.so
//: main -la -fno-plt -O2
//: arch x86_64 i386
//: musl
//: stdout 5

#ifdef LIB_A
int five(void) { return 5; }
#else
#include <stdio.h>
int five(void);
int main(void) { printf("%d\n", five()); }
#endif

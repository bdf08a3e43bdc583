//: lib liba.so -mcmodel=large
//: main -la
//: arch x86_64
//: musl
//: stdout 12

#ifdef LIB_A
int global_value = 5;
static int local_value = 7;
int sum(void) { return global_value + local_value; }
#else
#include <stdio.h>
int sum(void);
int main(void) { printf("%d\n", sum()); }
#endif

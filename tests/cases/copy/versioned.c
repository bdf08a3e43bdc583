//: file v.map V1 { global: variable; local: *; };\nV2 { } V1;
//: lib liba.so -Wl,--version-script=v.map
//: main -no-pie -fno-pic -la
//: arch x86_64 i386 aarch64 riscv64
//: stdout 2

#ifdef LIB_A
__asm__(".symver old_variable, variable@V1");
__asm__(".symver new_variable, variable@@V2");
int old_variable = 1;
int new_variable = 2;
#else
#include <stdio.h>
extern int variable;
int main(void) { printf("%d\n", variable); }
#endif

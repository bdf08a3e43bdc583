//: lib liba.so
//: main -la -rdynamic
//: arch x86_64 i386 riscv64
//: stdout library

// A relocation that names a protected symbol: the reference itself says "protected", so its own definition is taken.
#ifdef LIB_A
__asm__(
    ".globl who\n.protected who\n.data\n.balign 8\n.type who, %object\n.size who, 4\nwho: .long 1\n"
    ".globl pointer\n.balign 8\n.type pointer, %object\n"
#if __SIZEOF_POINTER__ == 8
    ".size pointer, 8\npointer: .quad who\n"
#else
    ".size pointer, 4\npointer: .long who\n"
#endif
    ".text\n");
extern int *pointer;
int ask(void) { return *pointer; }
#else
#include <stdio.h>
int ask(void);
int who = 2;
int main(void) { puts(ask() == 1 ? "library" : "main"); }
#endif

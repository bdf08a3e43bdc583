//: lib liba.so
//: lib libb.so -la
//: main -lb -la
//: arch x86_64
//: stdout 40

// R_X86_64_SIZE64 against a symbol of another library.
#ifdef LIB_A
char object[40];
#elif defined LIB_B
__asm__(".data\n.balign 8\n.globl size_of_object\n.type size_of_object, @object\n.size size_of_object, 8\n"
        "size_of_object: .quad object@SIZE\n.text\n");
#else
#include <stdio.h>
extern long size_of_object;
extern char object[40];
int main(void) { printf("%ld\n", size_of_object); }
#endif

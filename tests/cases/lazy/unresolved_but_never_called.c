//: lib liba.so
//: main -la -Wl,-z,lazy
//: lib liba.so -DWITHOUT
//: arch x86_64 i386 aarch64 arm s390x ppc64le
//: problem undefined symbol: gone
//: stdout fine

#ifdef LIB_A
#ifndef WITHOUT
void gone(void) {}
#endif
void here(void) {}
#else
#include <stdio.h>
void gone(void), here(void);
int main(int argc, char **argv) {
    (void)argv;
    here();
    if (argc > 5) gone();
    puts("fine");
}
#endif

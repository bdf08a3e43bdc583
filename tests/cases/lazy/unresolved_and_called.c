//: lib liba.so
//: main -la -Wl,-z,lazy
//: lib liba.so -DWITHOUT
//: arch x86_64 i386 aarch64 arm s390x ppc64le
//: problem undefined symbol: gone
//: stderr symbol lookup error
//: status 127
//: stdout before

#ifdef LIB_A
#ifndef WITHOUT
void gone(void) {}
#endif
#else
#include <stdio.h>
void gone(void);
int main(void) {
    puts("before");
    fflush(stdout);
    gone();
}
#endif

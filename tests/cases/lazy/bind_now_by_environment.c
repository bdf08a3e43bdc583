//: lib liba.so
//: main -la -Wl,-z,lazy
//: lib liba.so -DWITHOUT
//: env LD_BIND_NOW=1
//: problem undefined symbol: gone
//: stderr undefined symbol: gone
//: status 127

#ifdef LIB_A
#ifndef WITHOUT
void gone(void) {}
#endif
#else
#include <stdio.h>
void gone(void);
int main(void) {
    puts("before");
    gone();
}
#endif

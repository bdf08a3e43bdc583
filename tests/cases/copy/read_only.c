//: lib liba.so
//: main -no-pie -fno-pic -la -Wl,-z,relro
//: musl
//: stdout "constant"

// The copy of a constant lies in RELRO: copied first, protected then.
#ifdef LIB_A
const char text[16] = "constant";
#else
#include <stdio.h>
extern const char text[16];
int main(void) { puts(text); }
#endif

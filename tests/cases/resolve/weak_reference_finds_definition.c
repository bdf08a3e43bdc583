//: lib libb.so
//: lib liba.so
//: main -la -lb
//: musl
//: stdout 7

#ifdef LIB_A
__attribute__((weak)) int seven(void);
int ask(void) { return seven ? seven() : -1; }
#elif defined LIB_B
int seven(void) { return 7; }
#else
#include <stdio.h>
int ask(void);
int main(void) { printf("%d\n", ask()); }
#endif

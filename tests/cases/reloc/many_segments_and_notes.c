//: lib liba.so -Wl,--build-id=sha1 -Wl,-z,separate-code -ffunction-sections -fdata-sections
//: main -la -Wl,--build-id=0x0102030405
//: stdout 5

#ifdef LIB_A
__attribute__((section(".own_text"))) int five(void) { return 5; }
__attribute__((section(".own_data"))) int data = 1;
#else
#include <stdio.h>
int five(void);
int main(void) { printf("%d\n", five()); }
#endif

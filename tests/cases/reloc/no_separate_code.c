//: lib liba.so -Wl,-z,noseparate-code
//: main -la -Wl,-z,noseparate-code
//: musl
//: stdout 5

#ifdef LIB_A
static int five = 5;
int *get(void) { return &five; }
#else
#include <stdio.h>
int *get(void);
int main(void) { printf("%d\n", *get()); }
#endif

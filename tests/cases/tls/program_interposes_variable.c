//: lib liba.so
//: main -la -rdynamic
//: musl
//: stdout 2

#ifdef LIB_A
__thread int variable = 1;
int get(void) { return variable; }
#else
#include <stdio.h>
__thread int variable = 2;
int get(void);
int main(void) { printf("%d\n", get()); }
#endif

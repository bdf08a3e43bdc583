//: lib liba.so
//: main -la
//: musl
//: stdout "5 5"

#ifdef LIB_A
__thread int variable = 5;
int get(void) { return variable; }
#else
#include <stdio.h>
extern __thread int variable;
int get(void);
int main(void) { printf("%d %d\n", variable, get()); }
#endif

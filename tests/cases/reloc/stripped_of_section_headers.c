//: lib liba.so
//: main -la
//: strip liba.so
//: strip main
//: stdout "5 5"

// A loader reads program headers and DT_* only: no section headers, no section names.
#ifdef LIB_A
int five(void) { return 5; }
__thread int five_too = 5;
#else
#include <stdio.h>
int five(void);
extern __thread int five_too;
int main(void) { printf("%d %d\n", five(), five_too); }
#endif

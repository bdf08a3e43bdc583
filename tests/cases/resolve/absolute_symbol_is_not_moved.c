//: lib liba.so -Wl,--defsym,answer=0x1234
//: main -fPIC -la
//: stdout 0x1234

// SHN_ABS: glibc adds no load bias (since 2.28).
#ifdef LIB_A
int unused;
#else
#include <stdio.h>
extern char answer[];
char *pointer = answer;
int main(void) { printf("%#lx\n", (unsigned long)pointer); }
#endif

//: file v.map LIB_1 { global: one_*; local: *; };\nLIB_2 { global: two_*; } LIB_1;\nLIB_3 { global: three; } LIB_2;
//: lib liba.so -Wl,--version-script=v.map -Wl,-soname,liba.so.3
//: link liba.so.3 liba.so
//: main -la
//: musl
//: stdout 6

#ifdef LIB_A
int one_f(void) { return 1; }
int two_f(void) { return 2; }
int three = 3;
#else
#include <stdio.h>
int one_f(void), two_f(void);
extern int three;
int main(void) { printf("%d\n", one_f() + two_f() + three); }
#endif

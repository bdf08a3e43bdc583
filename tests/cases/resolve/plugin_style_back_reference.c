//: lib liba.so
//: main -la -rdynamic
//: musl
//: stdout 42

#ifdef LIB_A
int from_main(void);
extern int number_of_main;
int ask(void) { return from_main() + number_of_main; }
#else
#include <stdio.h>
int ask(void);
int number_of_main = 2;
int from_main(void) { return 40; }
int main(void) { printf("%d\n", ask()); }
#endif

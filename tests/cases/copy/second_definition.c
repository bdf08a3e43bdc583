//: lib liba.so -DVALUE=1
//: lib libb.so -DVALUE=2
//: main -no-pie -fno-pic -la -lb
//: musl
//: stdout "1"

// What is copied is the first definition after the program's own.
#ifdef MAIN
#include <stdio.h>
extern int variable;
int main(void) { printf("%d\n", variable); }
#else
int variable = VALUE;
#endif

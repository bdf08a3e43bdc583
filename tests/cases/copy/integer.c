//: lib liba.so
//: main -no-pie -fno-pic -la
//: musl
//: stdout "5 6 6"

// Non-PIC code uses the variable at a fixed address: it moves into the program, with its value, for everybody.
#ifdef LIB_A
int variable = 5;
void increment(void) { ++variable; }
int *address(void) { return &variable; }
#else
#include <stdio.h>
extern int variable;
void increment(void);
int *address(void);
int main(void) {
    int before = variable;
    increment();
    printf("%d %d %d\n", before, variable, *address());
}
#endif

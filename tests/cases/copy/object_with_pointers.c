//: lib liba.so
//: main -no-pie -fno-pic -la
//: musl
//: stdout "one two"

// The bytes copied have relocations of their own: the library is relocated before the program.
#ifdef LIB_A
const char *table[2] = {"one", "two"};
#else
#include <stdio.h>
extern const char *table[2];
int main(void) { printf("%s %s\n", table[0], table[1]); }
#endif

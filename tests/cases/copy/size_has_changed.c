//: lib liba.so -DSIZE=4 into old
//: main -no-pie -fno-pic -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so -DSIZE=8 into new
//: arch x86_64 i386 aarch64
//: stdout "1 2 3 4"
//: stderr has different size in shared object, consider re-linking

// The library's object has grown: the smaller size is copied, with a warning.
#ifdef LIB_A
int table[SIZE] = {1, 2, 3, 4};
#else
#include <stdio.h>
extern int table[4];
int main(void) { printf("%d %d %d %d\n", table[0], table[1], table[2], table[3]); }
#endif

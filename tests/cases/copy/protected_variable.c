//: lib liba.so -DOLD into old
//: main -no-pie -fno-pic -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so into new
//: arch x86_64 i386
//: stdout "9 1"
//: stderr warning: copy relocation against non-copyable protected symbol `value' in
//: problem copy relocation against non-copyable protected symbol `value' in

// The library goes on with its own variable, the program with the copy: with a warning.
#ifdef LIB_A
#ifndef OLD
__attribute__((visibility("protected")))
#endif
int value = 1;
int own(void) { return value; }
#else
#include <stdio.h>
extern int value;
int own(void);
int main(void) { value = 9; printf("%d %d\n", value, own()); }
#endif

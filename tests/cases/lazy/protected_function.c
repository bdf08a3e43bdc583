//: lib liba.so -DOLD into old
//: main -no-pie -fno-pic -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so into new
//: arch x86_64 i386
//: stdout "3 different"
//: stderr warning: direct reference to protected function `function' in
//: problem direct reference to protected function `function' in

// Its address is the program's PLT entry for the program, and its own for the library: with a warning when it is bound.
#ifdef LIB_A
#ifndef OLD
__attribute__((visibility("protected")))
#endif
int function(void) { return 3; }
void *own(void) { return function; }
#else
#include <stdio.h>
int function(void);
void *own(void);
int main(void) { printf("%d %s\n", function(), own() == (void *)function ? "same" : "different"); }
#endif

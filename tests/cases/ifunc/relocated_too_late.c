//: lib libb.so
//: lib liba.so
//: main -Wl,--no-as-needed -lb -la
//: arch x86_64 i386
//: stdout "41"
//: stderr Relink `
//: problem for IFUNC symbol `function'

// liba.so does not name libb.so, which is relocated after it: its resolver is called too early.
#ifdef LIB_B
static int one(void) { return 41; }
static void *resolver(void) { return one; }
int function(void) __attribute__((ifunc("resolver")));
#elif defined LIB_A
int function(void);
int (*pointer)(void) = function;
int call(void) { return pointer(); }
#else
#include <stdio.h>
int call(void);
int main(void) { printf("%d\n", call()); }
#endif

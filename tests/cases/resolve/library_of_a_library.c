//: lib libb.so
//: lib liba.so -lb
//: main -la
//: lib liba.so -DMOVED -lb
//: musl
//: stdout b

// The scope is global: a library that only another library needs serves the program as well.
#ifdef LIB_B
const char *who(void) { return "b"; }
#elif defined LIB_A
#ifndef MOVED
const char *who(void) { return "a"; }
#endif
int unused;
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

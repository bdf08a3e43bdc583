//: lib liba.so
//: main -la -rdynamic
//: arch -mips64el
//: stdout main

#ifdef LIB_A
static const char *chosen(void) { return "library"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
const char *inside(void) { return function(); }
#else
#include <stdio.h>
const char *inside(void);
const char *function(void) { return "main"; }
int main(void) { puts(inside()); }
#endif

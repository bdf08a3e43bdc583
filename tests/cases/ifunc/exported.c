//: lib liba.so
//: main -la
//: arch -mips64el
//: stdout "chosen chosen"

#ifdef LIB_A
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
const char *inside(void) { return function(); }
#else
#include <stdio.h>
const char *function(void), *inside(void);
int main(void) { printf("%s %s\n", function(), inside()); }
#endif

//: lib liba.so
//: main -la
//: arch -mips64el
//: stdout chosen chosen

// Not exported: IRELATIVE, for the call and for the pointer in data.
#ifdef LIB_A
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
static const char *function(void) __attribute__((ifunc("resolve")));
static const char *(*pointer)(void) = function;
const char *by_call(void) { return function(); }
const char *by_pointer(void) { return pointer(); }
#else
#include <stdio.h>
const char *by_call(void), *by_pointer(void);
int main(void) { printf("%s %s\n", by_call(), by_pointer()); }
#endif

//: lib libb.so
//: lib liba.so -lb
//: main -la
//: arch -mips64el
//: stdout "second"

// The resolver reads a pointer and a library's variable: both have to be relocated before it is called.
#ifdef LIB_B
int choice = 2;
#elif defined LIB_A
extern int choice;
static const char *first(void) { return "first"; }
static const char *second(void) { return "second"; }
static const char *(*const table[])(void) = {0, first, second};
static const char *(*resolve(void))(void) { return table[choice]; }
const char *function(void) __attribute__((ifunc("resolve")));
#else
#include <stdio.h>
const char *function(void);
int main(void) { puts(function()); }
#endif

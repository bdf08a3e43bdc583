//: main
//: arch -mips64el
//: stdout "chosen chosen"

#include <stdio.h>
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
const char *(*pointer)(void) = function;
int main(void) { printf("%s %s\n", function(), pointer()); }

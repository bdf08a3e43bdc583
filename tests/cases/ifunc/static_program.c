//: main -static
//: arch -mips64el
//: stdout "chosen chosen"

// IRELATIVE relocations applied by the program itself (__rela_iplt_start or, PIE, _dl_relocate_static_pie).
#include <stdio.h>
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
const char *(*pointer)(void) = function;
int main(void) { printf("%s %s\n", function(), pointer()); }

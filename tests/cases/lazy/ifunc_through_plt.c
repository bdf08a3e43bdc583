//: lib liba.so
//: main -la -Wl,-z,lazy
//: arch -mips64el
//: stdout "chosen 1"

// The resolver runs when the function is first called (or before), once.
#ifdef LIB_A
int asked;
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
#else
#include <stdio.h>
const char *function(void);
int main(void) {
    const char *first = function();
    printf("%s %d\n", first, first == function());
}
#endif

//: lib liba.so
//: lib libb.so -la
//: main -lb -la
//: arch -mips64el
//: stdout "chosen same"

#ifdef LIB_A
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
void *address(void) { return (void *)function; }
#elif defined LIB_B
const char *function(void);
const char *(*pointer)(void) = function;
#else
#include <stdio.h>
extern const char *(*pointer)(void);
void *address(void);
int main(void) { printf("%s %s\n", pointer(), (void *)pointer == address() ? "same" : "different"); }
#endif

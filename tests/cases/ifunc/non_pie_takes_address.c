//: lib liba.so
//: main -no-pie -fno-pic -la
//: arch x86_64 i386 aarch64 arm
//: stdout "chosen same"

#ifdef LIB_A
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
void *address(void) { return (void *)function; }
#else
#include <stdio.h>
const char *function(void);
void *address(void);
int main(void) {
    printf("%s %s\n", function(), address() == (void *)function ? "same" : "different");
}
#endif

//: lib liba.so
//: main -no-pie -fno-pic -la
//: arch x86_64 i386 aarch64
//: stdout "chosen 0"

// Copied bytes that wait for a resolver: the copy waits too. The second one is a function of libc that may be an IFUNC.
#include <string.h>
struct operations {
    const char *(*name)(void);
    int (*compare)(const char *, const char *);
};
#ifdef LIB_A
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
const struct operations operations = {function, strcmp};
#else
#include <stdio.h>
extern const struct operations operations;
int main(void) { printf("%s %d\n", operations.name(), operations.compare("same", "same")); }
#endif

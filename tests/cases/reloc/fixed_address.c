//: lib liba.so
//: main -no-pie -fno-pic -la
//: musl
//: stdout "5 fixed"

// ET_EXEC.
#ifdef LIB_A
int five(void) { return 5; }
#else
#include <stdio.h>
int five(void);
static int here;
static int *pointer = &here;
int main(void) {
    extern char __ehdr_start[] __attribute__((weak));
    printf("%d %s\n", five(), pointer == &here && (!__ehdr_start || (long)__ehdr_start > 0) ? "fixed" : "moved");
}
#endif

//: lib libb.so -DB
//: lib liba.so
//: main -la -lb
//: musl
//: stdout "a: main, after a: b"

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
typedef const char *Who(void);
#ifdef LIB_A
const char *who(void) { return "a"; }
void ask(void) {
    Who *first = (Who *)dlsym(RTLD_DEFAULT, "who");
    Who *next = (Who *)dlsym(RTLD_NEXT, "who");
    printf("a: %s, after a: %s\n", first(), next());
}
#elif defined LIB_B
const char *who(void) { return "b"; }
#else
void ask(void);
__attribute__((visibility("default"))) const char *who(void) { return "main"; }
int main(void) { ask(); }
#endif

//: lib liba.so
//: main -rdynamic
//: stdout "a"

#define _GNU_SOURCE
#ifdef LIB_A
const char *who(void) { return "a"; }
const char *ask(void) { return who(); }
#else
#include <dlfcn.h>
#include <stdio.h>
typedef const char *Ask(void);
const char *who(void) { return "main"; }
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW | RTLD_DEEPBIND);
    puts(((Ask *)dlsym(a, "ask"))());
}
#endif

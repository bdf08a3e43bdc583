//: lib liba.so
//: main -rdynamic
//: musl
//: stdout "main a"

// Global scope before the plugin's own; with -Bsymbolic or RTLD_DEEPBIND it would be the other way round.
#ifdef LIB_A
const char *who(void) { return "a"; }
const char *ask(void) { return who(); }
#else
#include <dlfcn.h>
#include <stdio.h>
typedef const char *Ask(void);
const char *who(void) { return "main"; }
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW);
    printf("%s %s\n", ((Ask *)dlsym(a, "ask"))(), ((Ask *)dlsym(a, "who"))());
}
#endif

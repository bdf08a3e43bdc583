//: lib libd.so -DWHO='"d"'
//: lib libe.so -DWHO='"e"'
//: lib liba.so -ld
//: lib libb.so -le
//: main
//: musl
//: stdout "d e"

// Each plugin searches its own tree of dependencies.
#ifdef MAIN
#include <dlfcn.h>
#include <stdio.h>
typedef const char *Ask(void);
int main(void) {
    Ask *a = (Ask *)dlsym(dlopen("liba.so", RTLD_NOW), "ask");
    Ask *b = (Ask *)dlsym(dlopen("libb.so", RTLD_NOW), "ask");
    printf("%s %s\n", a(), b());
}
#elif defined WHO
const char *who(void) { return WHO; }
#else
const char *who(void);
const char *ask(void) { return who(); }
#endif

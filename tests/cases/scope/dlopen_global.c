//: lib liba.so
//: lib libb.so
//: main
//: musl
//: stdout "a found"

#ifdef LIB_A
const char *who(void) { return "a"; }
#elif defined LIB_B
const char *who(void);
const char *ask(void) { return who(); }
#else
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    dlopen("liba.so", RTLD_NOW | RTLD_GLOBAL);
    const char *(*ask)(void) = (const char *(*)(void))dlsym(dlopen("libb.so", RTLD_NOW), "ask");
    printf("%s %s\n", ask(), dlsym(RTLD_DEFAULT, "who") ? "found" : "null");
}
#endif

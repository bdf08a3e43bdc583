//: lib liba.so
//: main
//: musl
//: stdout "null found same"

#ifdef LIB_A
void who(void) {}
#else
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW | RTLD_LOCAL);
    void *before = dlsym(RTLD_DEFAULT, "who");
    void *again = dlopen("liba.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    void *after = dlsym(RTLD_DEFAULT, "who");
    printf("%s %s %s\n", before ? "found" : "null", after ? "found" : "null", a == again ? "same" : "other");
}
#endif

//: lib liba.so
//: main
//: musl
//: stdout "null same"

#ifdef LIB_A
int unused;
#else
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *before = dlopen("liba.so", RTLD_NOW | RTLD_NOLOAD);
    void *loaded = dlopen("liba.so", RTLD_NOW);
    void *after = dlopen("liba.so", RTLD_NOW | RTLD_NOLOAD);
    printf("%s %s\n", before ? "loaded" : "null", loaded == after ? "same" : "other");
}
#endif

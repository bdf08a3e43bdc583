//: lib liba.so -Wl,-z,nodelete
//: main
//: musl
//: stdout 2

#ifdef LIB_A
int counter = 0;
int count(void) { return ++counter; }
#else
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW);
    ((int (*)(void))dlsym(a, "count"))();
    dlclose(a);
    a = dlopen("liba.so", RTLD_NOW);
    printf("%d\n", ((int (*)(void))dlsym(a, "count"))());
}
#endif

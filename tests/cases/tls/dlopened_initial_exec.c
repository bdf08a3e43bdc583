//: lib liba.so -ftls-model=initial-exec
//: main
//: stdout "17"

// A small block with static TLS still fits into the reserve.
#ifdef LIB_A
__thread int variable = 17;
int get(void) { return variable; }
#else
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW);
    if (!a) puts(dlerror());
    int (*get)(void) = (int (*)(void))dlsym(a, "get");
    printf("%d\n", get());
}
#endif

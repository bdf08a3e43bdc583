//: lib libp.so
//: main
//: env LD_PRELOAD=$DIR/libp.so
//: stdout "wrapped"

// The usual wrapper: interposed by LD_PRELOAD, the real one by RTLD_NEXT.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef LIB_P
int wrapped;
void *malloc(size_t n) {
    static void *(*real)(size_t);
    if (!real) real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    if (n == 12345) wrapped = 1;
    return real(n);
}
#else
int main(void) {
    void *volatile p = malloc(12345);
    int *wrapped = dlsym(RTLD_DEFAULT, "wrapped");
    free(p);
    if (wrapped && *wrapped) write(1, "wrapped\n", 8);
}
#endif

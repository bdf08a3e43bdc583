//: lib liba.so
//: main -la -rdynamic
//: arch -mips64el
//: stdout "1 2 1"

// A new namespace has its own copy, which does not see the program.
#define _GNU_SOURCE
#ifdef LIB_A
static int counter;
int count(void) { return ++counter; }
#else
#include <dlfcn.h>
#include <stdio.h>
int count(void);
int main(void) {
    int first = count(), second = count();
    void *a = dlmopen(LM_ID_NEWLM, "liba.so", RTLD_NOW);
    int (*other)(void) = a ? (int (*)(void))dlsym(a, "count") : 0;
    printf("%d %d %d\n", first, second, other ? other() : -1);
}
#endif

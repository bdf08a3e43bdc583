//: lib liba.so
//: main
//: arch -mips64el
//: stdout chosen

#ifdef LIB_A
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *function(void) __attribute__((ifunc("resolve")));
#else
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    const char *(*f)(void) = (const char *(*)(void))dlsym(dlopen("liba.so", RTLD_LAZY), "function");
    puts(f());
}
#endif

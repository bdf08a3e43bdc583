//: lib liba.so
//: main -la -rdynamic
//: musl
//: stdout "main a null"

#ifdef LIB_A
const char *in_a(void) { return "a"; }
#else
#include <dlfcn.h>
#include <stdio.h>
typedef const char *Who(void);
const char *in_main(void) { return "main"; }
const char *in_a(void);
int main(void) {
    void *self = dlopen(0, RTLD_NOW);
    in_a();
    printf("%s %s %s\n", ((Who *)dlsym(self, "in_main"))(), ((Who *)dlsym(self, "in_a"))(),
           dlsym(self, "nowhere") ? "found" : "null");
}
#endif

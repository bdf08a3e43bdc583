//: file v.map V1 { global: who; local: *; };\nV2 { } V1;
//: lib liba.so -Wl,--version-script=v.map
//: main -la
//: stdout "new old new none"

#define _GNU_SOURCE
#ifdef LIB_A
__asm__(".symver old_who, who@V1");
__asm__(".symver new_who, who@@V2");
const char *old_who(void) { return "old"; }
const char *new_who(void) { return "new"; }
#else
#include <dlfcn.h>
#include <stdio.h>
typedef const char *Who(void);
static const char *call(void *p) { return p ? ((Who *)p)() : "none"; }
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW);
    printf("%s %s %s %s\n", call(dlsym(a, "who")), call(dlvsym(a, "who", "V1")),
           call(dlvsym(RTLD_DEFAULT, "who", "V2")), call(dlvsym(a, "who", "V3")));
}
#endif

//: lib liba.so
//: main -la -rdynamic
//: musl
//: stdout "liba.so function 1"
//: stdout "main in_main 1"
//: stdout "liba.so object 1"

#define _GNU_SOURCE
#ifdef LIB_A
int object[4];
__attribute__((noinline)) int function(void) { return 1; }
#else
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int function(void);
extern int object[4];
void in_main(void) {}
static void show(void *address) {
    Dl_info info;
    if (!dladdr(address, &info)) {
        puts("nothing");
        return;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    printf("%s %s %d\n", slash ? slash + 1 : info.dli_fname, info.dli_sname ? info.dli_sname : "?",
           *(unsigned char *)info.dli_fbase == 0x7f && info.dli_saddr <= address);
}
int main(void) {
    show(dlsym(RTLD_DEFAULT, "function"));
    show((void *)in_main);
    show((char *)dlsym(RTLD_NEXT, "object") + 5);
}
#endif

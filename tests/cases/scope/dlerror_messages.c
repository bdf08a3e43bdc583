//: lib liba.so -Wl,-z,now
//: lib libb.so
//: main
//: stdout "libgone.so: cannot open shared object file: No such file or directory"
//: stdout "liba.so: undefined symbol: gone"
//: stdout "libb.so: undefined symbol: nowhere"
//: stdout "(none)"

#include <stddef.h>
#ifdef LIB_A
void gone(void);
void call(void) { gone(); }
#elif defined LIB_B
int here;
#else
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
static void say(void) {
    const char *text = dlerror();
    // without the directory of this build
    const char *name = text ? strstr(text, "lib") : NULL;
    for (const char *next = name; next && (next = strchr(next, '/')); ++next) name = next + 1;
    puts(text ? name : "(none)");
}
int main(void) {
    dlopen("libgone.so", RTLD_NOW), say();
    dlopen("liba.so", RTLD_NOW), say();
    dlsym(dlopen("libb.so", RTLD_NOW), "nowhere"), say();
    say();
}
#endif

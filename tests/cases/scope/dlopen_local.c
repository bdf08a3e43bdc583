//: lib liba.so -DWHO='"a"'
//: lib libb.so -DWHO='"b"'
//: main
//: musl
//: stdout "a b null"

// Two plugins with the same names do not see one another, nor does the program see them.
#ifdef MAIN
#include <dlfcn.h>
#include <stdio.h>
typedef const char *Ask(void);
int main(void) {
    Ask *a = (Ask *)dlsym(dlopen("liba.so", RTLD_NOW | RTLD_LOCAL), "ask");
    Ask *b = (Ask *)dlsym(dlopen("libb.so", RTLD_NOW | RTLD_LOCAL), "ask");
    printf("%s %s %s\n", a(), b(), dlsym(RTLD_DEFAULT, "who") ? "found" : "null");
}
#else
const char *who(void) { return WHO; }
const char *ask(void) { return who(); }
#endif

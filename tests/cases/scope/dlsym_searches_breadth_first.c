//: lib libc1.so -DWHO='"c"'
//: lib libd.so -DWHO='"d"'
//: lib libb.so -lc1
//: lib liba.so -lb -ld
//: main
//: musl
//: stdout d

#ifdef MAIN
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    puts(((const char *(*)(void))dlsym(dlopen("liba.so", RTLD_NOW), "who"))());
}
#elif defined WHO
const char *who(void) { return WHO; }
#else
int unused;
#endif

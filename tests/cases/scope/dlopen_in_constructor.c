//: lib libp.so
//: lib liba.so
//: main -la
//: musl
//: stdout "plugin in constructor"

#include <stdio.h>
#ifdef LIB_P
const char *who(void) { return "plugin"; }
#elif defined LIB_A
#include <dlfcn.h>
static const char *answer;
__attribute__((constructor)) static void init(void) {
    answer = ((const char *(*)(void))dlsym(dlopen("libp.so", RTLD_NOW), "who"))();
}
const char *get(void) { return answer; }
#else
const char *get(void);
int main(void) { printf("%s in constructor\n", get()); }
#endif

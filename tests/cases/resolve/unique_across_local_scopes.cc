//: lib liba.so
//: lib libb.so
//: main -ldl
//: arch x86_64
//: stdout "one counter: 2"

// An inline static member is STB_GNU_UNIQUE: one object per process, even between libraries that do not see one another.
#if defined LIB_A || defined LIB_B
struct Shared {
    static inline int counter = 0;
};
extern "C" int *count(void) {
    ++Shared::counter;
    return &Shared::counter;
}
#else
#include <cstdio>
#include <dlfcn.h>
int main() {
    int *(*a)(void) = (int *(*)(void))dlsym(dlopen("liba.so", RTLD_NOW | RTLD_LOCAL), "count");
    int *(*b)(void) = (int *(*)(void))dlsym(dlopen("libb.so", RTLD_NOW | RTLD_LOCAL), "count");
    int *first = a(), *second = b();
    printf("%s: %d\n", first == second ? "one counter" : "two counters", *second);
}
#endif

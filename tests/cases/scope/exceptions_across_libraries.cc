//: lib libb.so
//: lib liba.so -lb
//: lib libp.so -lb
//: main -la -lb
//: arch x86_64
//: stdout "caught 7 from a needed library"
//: stdout "caught 7 from a dlopened library"

// Unwinding finds every module's tables (dl_iterate_phdr, _dl_find_object), and type_info is one per name.
struct Trouble {
    int number;
    virtual ~Trouble();
};
#ifdef LIB_B
Trouble::~Trouble() {}
#elif defined LIB_A || defined LIB_P
extern "C" void raise_trouble(int n) {
    Trouble t;
    t.number = n;
    throw t;
}
#else
#include <cstdio>
#include <dlfcn.h>
extern "C" void raise_trouble(int);
static void attempt(void (*f)(int), const char *what) {
    try {
        f(7);
    } catch (const Trouble &t) {
        std::printf("caught %d from a %s library\n", t.number, what);
    }
}
int main() {
    attempt(raise_trouble, "needed");
    attempt((void (*)(int))dlsym(dlopen("libp.so", RTLD_NOW), "raise_trouble"), "dlopened");
}
#endif

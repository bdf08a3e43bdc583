//: lib liba.so
//: main
//: stdout "+a open twice, closed once, -a closed twice, +a 1"

#include <unistd.h>
static void say(const char *s) { while (*s) write(1, s++, 1); }
#ifdef LIB_A
int counter = 0;
int count(void) { return ++counter; }
__attribute__((constructor)) static void init(void) { say("+a "); }
__attribute__((destructor)) static void fini(void) { if (counter != 1) say("-a "); }
#else
#include <dlfcn.h>
int main(void) {
    void *a = dlopen("liba.so", RTLD_NOW), *b = dlopen("liba.so", RTLD_NOW);
    int (*count)(void) = (int (*)(void))dlsym(a, "count");
    count(), count();
    say(a == b ? "open twice, " : "two, ");
    dlclose(a);
    say("closed once, ");
    dlclose(b);
    say("closed twice, ");
    count = (int (*)(void))dlsym(dlopen("liba.so", RTLD_NOW), "count");
    say(count() == 1 ? "1\n" : "still loaded\n");
}
#endif

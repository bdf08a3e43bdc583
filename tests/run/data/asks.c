// Opens libraries from an initialiser, and asks for the next definition.
#include <dlfcn.h>
#include <stdio.h>
__attribute__((constructor)) static void begin(void) {
    printf("inside an initialiser: %d\n", dlopen("libz.so.1", RTLD_NOW) != 0);
    printf("next: %d\n", dlsym((void *)-1L, "puts") != 0);
}
__attribute__((destructor)) static void end(void) { puts("asks goes"); }

/* Opens, looks up and closes: everything that LD_DEBUG tells about. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

__attribute__((constructor)) static void begin(void)
{
    fputs("begin program\n", stderr);
}

__attribute__((destructor)) static void end(void)
{
    fputs("end program\n", stderr);
}

static int ask(void *handle, const char *name)
{
    int (*function)(void) = (int (*)(void))dlsym(handle, name);
    return function ? function() : -1;
}

int main(void)
{
    void *one = dlopen("./one.so", RTLD_NOW);
    fprintf(stderr, "%d\n", ask(one, "answer"));
    dlclose(one);
    void *two = dlopen("./two.so", RTLD_NOW);
    one = dlopen("./one.so", RTLD_NOW | RTLD_GLOBAL);
    void *three = dlopen("./three.so", RTLD_NOW);
    dlclose(one);
    dlclose(three);
    one = dlopen("./one.so", RTLD_NOW | RTLD_GLOBAL);
    fprintf(stderr, "%d %d\n", ask(two, "answer"), ask(RTLD_DEFAULT, "answer"));
    dlclose(one);
    void *z = dlopen("libz.so.1", RTLD_NOW | RTLD_GLOBAL);
    void *again = dlopen("libz.so.1", RTLD_NOW | RTLD_DEEPBIND);
    fprintf(stderr, "%d %d\n", z == again, dlvsym(z, "gzopen64", "ZLIB_1.2.3.3") != NULL);
    dlclose(again);
    fprintf(stderr, "%d\n", dlopen("nothing.so", RTLD_NOW) == NULL);
    fprintf(stderr, "%d\n", dlopen("libc.so.6", RTLD_NOW) != NULL);
    fprintf(stderr, "%d\n", dlopen(NULL, RTLD_NOW) != NULL);
    dlclose(two);
    return strlen(dlerror() ? "" : "");
}

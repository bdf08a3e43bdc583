// Data copied from a library, thread-local storage, initialisers, dlopen: for any libc.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
extern int value;
extern __thread int own;
int function(int);
static __thread int mine = 5;
static void *work(void *n) {
    own += (long)n;
    return (void *)(long)(mine += own);
}
static int show(struct dl_phdr_info *info, size_t size, void *data) {
    const char *name = strrchr(info->dlpi_name, '/');
    printf(" <%s>", name ? name + 1 : info->dlpi_name);
    return 0;
}
__attribute__((constructor)) static void begin(void) { puts("program begins"); }
__attribute__((destructor)) static void end(void) { puts("program ends"); }
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    printf("%s %d %d\n", argv[argc - 1], value, function(4));
    for (long i = 0; i < 3; ++i) {
        pthread_t thread;
        void *result;
        pthread_create(&thread, 0, work, (void *)i);
        pthread_join(thread, &result);
        printf("%ld\n", (long)result);
    }
    void *handle = dlopen("./plugin.so", RTLD_NOW);
    puts(handle ? "opened" : dlerror());
    int (*next)(void) = (int (*)(void))dlsym(handle, "next");
    printf("%d %d\n", next(), *(int *)dlsym(handle, "counter"));
    puts(dlsym(handle, "nothing") ? "found" : dlerror());
    printf("%d\n", dlclose(handle));
    puts(dlopen("libnothing.so", RTLD_NOW) ? "found" : dlerror());
    dl_iterate_phdr(show, 0);
    puts("");
    return 3;
}

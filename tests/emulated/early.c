/* Threads begin while others open libraries: each finds the initial image in its block. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define LIBRARIES 16

static int (*volatile get[LIBRARIES])(void);
static volatile int opened;
static int wrong;

static void *opens(void *folder) {
    char name[4096];
    for (int i = 0; i < LIBRARIES; ++i) {
        snprintf(name, sizeof name, "%s/libtls%d.so", (char *)folder, i);
        void *handle = dlopen(name, RTLD_NOW);
        get[i] = (int (*)(void))dlsym(handle, "get");
        opened = i + 1;
    }
    return 0;
}

static void *looks(void *unused) {
    for (int i = 0; i < opened; ++i)
        if (get[i]() != 77) __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
    return unused;
}

int main(int argc, char **argv) {
    pthread_t opener, other;
    pthread_create(&opener, 0, opens, argc > 1 ? argv[1] : ".");
    while (opened < LIBRARIES) {
        pthread_create(&other, 0, looks, 0);
        pthread_join(other, 0);
    }
    pthread_join(opener, 0);
    printf("%d libraries, %d wrong\n", opened, wrong);
}

/* Threads with stacks of all sizes that glibc allows; a library with thread-local data that comes and goes, more often than
   there would be room if nothing were used again; one that wants more than there is. argv[1]: where they are. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *thread(void *unused) { return unused; }

int main(int argc, char **argv) {
    char name[4096];
    for (size_t size = sysconf(_SC_THREAD_STACK_MIN); size <= 1 << 20; size *= 2) {
        pthread_attr_t attributes;
        pthread_t id;
        pthread_attr_init(&attributes);
        int set = pthread_attr_setstacksize(&attributes, size);
        int made = pthread_create(&id, &attributes, thread, 0);
        if (!made) pthread_join(id, 0);
        if (set || made) printf("%zu: %s\n", size, strerror(set ? set : made));
    }
    snprintf(name, sizeof name, "%s/libtls0.so", argv[1]);
    for (int i = 0; i < 40; ++i) {
        void *handle = dlopen(name, RTLD_NOW);
        int (*get)(void) = handle ? (int (*)(void))dlsym(handle, "get") : 0;
        if (!get || get() != 77) printf("%d: %s\n", i, handle ? "not 77" : dlerror());
        if (handle) dlclose(handle);
    }
    snprintf(name, sizeof name, "%s/liblarge.so", argv[1]);
    printf("large: %d\n", dlopen(name, RTLD_NOW) != 0);
    return 0;
}

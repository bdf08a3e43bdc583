//: lib liba.so
//: main
//: musl
//: stdout "8 8"

// The library comes when the other thread is already running.
#ifdef LIB_A
__thread int variable = 8;
int get(void) { return variable++; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static pthread_barrier_t barrier;
static int (*get)(void);
static void *thread(void *unused) {
    (void)unused;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return (void *)(long)get();
}
int main(void) {
    pthread_t id;
    void *result;
    pthread_barrier_init(&barrier, 0, 2);
    pthread_create(&id, 0, thread, 0);
    pthread_barrier_wait(&barrier);
    get = (int (*)(void))dlsym(dlopen("liba.so", RTLD_NOW), "get");
    int first = get();
    pthread_barrier_wait(&barrier);
    pthread_join(id, &result);
    printf("%d %ld\n", first, (long)result);
}
#endif

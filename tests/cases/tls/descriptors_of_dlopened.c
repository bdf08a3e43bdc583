//: lib liba.so -mtls-dialect=gnu2
//: main
//: arch x86_64
//: musl
//: stdout "41 41"

#ifdef LIB_A
__thread int big[1000] = {41};
int get(void) { return big[0]++; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static int (*get)(void);
static void *thread(void *unused) {
    (void)unused;
    return (void *)(long)get();
}
int main(void) {
    pthread_t id;
    void *result;
    get = (int (*)(void))dlsym(dlopen("liba.so", RTLD_NOW), "get");
    int first = get();
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    printf("%d %ld\n", first, (long)result);
}
#endif

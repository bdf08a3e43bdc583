//: lib liba.so
//: lib libb.so -la -ftls-model=initial-exec
//: main -lb -la
//: musl
//: stdout "6 6"

// TPOFF relocations: own and foreign variable. The library has DF_STATIC_TLS.
#ifdef LIB_A
__thread int foreign = 1;
#elif defined LIB_B
extern __thread int foreign;
__thread int own = 2;
static __thread int local = 3;
int sum(void) {
    int total = foreign + own + local;
    foreign = own = local = 100;
    return total;
}
#else
#include <pthread.h>
#include <stdio.h>
int sum(void);
static void *thread(void *unused) {
    (void)unused;
    return (void *)(long)sum();
}
int main(void) {
    pthread_t id;
    void *result;
    int first = sum();
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    printf("%d %ld\n", first, (long)result);
}
#endif

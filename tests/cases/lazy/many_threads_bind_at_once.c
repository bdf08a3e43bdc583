//: lib liba.so
//: main -la -Wl,-z,lazy
//: musl
//: stdout 80

#ifdef LIB_A
#define F(n) int f##n(void) { return n; }
F(0) F(1) F(2) F(3) F(4)
#else
#include <pthread.h>
#include <stdio.h>
int f0(void), f1(void), f2(void), f3(void), f4(void);
static pthread_barrier_t barrier;
static void *thread(void *unused) {
    (void)unused;
    pthread_barrier_wait(&barrier);
    return (void *)(long)(f0() + f1() + f2() + f3() + f4());
}
int main(void) {
    pthread_t ids[8];
    long total = 0;
    pthread_barrier_init(&barrier, 0, 8);
    for (int i = 0; i < 8; ++i) pthread_create(&ids[i], 0, thread, 0);
    for (int i = 0; i < 8; ++i) {
        void *result;
        pthread_join(ids[i], &result);
        total += (long)result;
    }
    printf("%ld\n", total);
}
#endif

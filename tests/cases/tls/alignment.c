//: lib liba.so
//: lib libb.so
//: main -la -lb
//: musl
//: stdout "0 0 0"
//: stdout "0 0 0"

#ifdef LIB_A
__thread char odd = 1;
__thread int aligned_64 __attribute__((aligned(64))) = 2;
int a(void) { return (int)((unsigned long)&aligned_64 % 64) + odd - 1; }
#elif defined LIB_B
__thread char odd_b = 1;
__thread int aligned_256 __attribute__((aligned(256)));
int b(void) { return (int)((unsigned long)&aligned_256 % 256) + odd_b - 1; }
#else
#include <pthread.h>
#include <stdio.h>
int a(void), b(void);
static __thread char odd_main = 1;
static __thread int aligned_128 __attribute__((aligned(128))) = 3;
static void *thread(void *unused) {
    printf("%d %d %d\n", a(), b(), (int)((unsigned long)&aligned_128 % 128) + odd_main - 1);
    return unused;
}
int main(void) {
    pthread_t id;
    thread(0);
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, 0);
}
#endif

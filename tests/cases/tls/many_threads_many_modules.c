//: lib liba.so -DN=1
//: lib libb.so -DN=2
//: lib libc1.so -DN=3
//: lib libd.so -DN=4
//: main -la -lb -lc1 -ld
//: musl
//: stdout 80

#define PASTE(x, y) x##y
#define NAME(x, n) PASTE(x, n)
#ifdef N
__thread int NAME(variable_, N) = N;
int NAME(get_, N)(void) { return NAME(variable_, N)++; }
#else
#include <pthread.h>
#include <stdio.h>
int get_1(void), get_2(void), get_3(void), get_4(void);
static void *thread(void *unused) {
    (void)unused;
    return (void *)(long)(get_1() + get_2() + get_3() + get_4());
}
int main(void) {
    pthread_t ids[8];
    long total = 0;
    for (int i = 0; i < 8; ++i) pthread_create(&ids[i], 0, thread, 0);
    for (int i = 0; i < 8; ++i) {
        void *result;
        pthread_join(ids[i], &result);
        total += (long)result;
    }
    printf("%ld\n", total);
}
#endif

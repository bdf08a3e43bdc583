//: lib liba.so
//: main -la
//: musl
//: stdout "0 0"

// PT_TLS with p_filesz == 0.
#ifdef LIB_A
__thread long block[512];
long sum(void) {
    long total = 0;
    for (int i = 0; i < 512; ++i) total += block[i]++;
    return total;
}
#else
#include <pthread.h>
#include <stdio.h>
long sum(void);
static void *thread(void *unused) {
    (void)unused;
    return (void *)sum();
}
int main(void) {
    pthread_t id;
    void *result;
    long first = sum();
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    printf("%ld %ld\n", first, (long)result);
}
#endif

//: lib liba.so -ftls-model=global-dynamic
//: lib libb.so -la -ftls-model=global-dynamic
//: main -la -lb
//: musl
//: stdout "101 1"

// One variable, used by two libraries; every thread has its own.
#ifdef LIB_A
__thread int variable = 1;
#elif defined LIB_B
extern __thread int variable;
int add(int n) { return variable += n; }
#else
#include <pthread.h>
#include <stdio.h>
extern __thread int variable;
int add(int);
static void *thread(void *unused) {
    (void)unused;
    return (void *)(long)add(100);
}
int main(void) {
    pthread_t id;
    void *result;
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    printf("%ld %d\n", (long)result, variable);
}
#endif

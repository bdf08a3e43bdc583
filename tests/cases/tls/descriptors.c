//: lib liba.so -mtls-dialect=gnu2
//: lib libb.so -la -mtls-dialect=gnu2
//: main -la -lb
//: arch x86_64 i386
//: musl
//: stdout "13 23"
//: stdout "13 23"

// TLSDESC; AArch64 has nothing else by default.
#ifdef LIB_A
__thread int variable = 10;
#elif defined LIB_B
extern __thread int variable;
static __thread int padding[4] = {1, 2, 3, 4};
static __thread int local = 3;
void values(int *out) {
    out[0] = variable + local;
    out[1] = variable + local + padding[0] * 10;
}
#else
#include <pthread.h>
#include <stdio.h>
void values(int *);
static void *thread(void *unused) {
    int v[2];
    values(v);
    printf("%d %d\n", v[0], v[1]);
    return unused;
}
int main(void) {
    pthread_t id;
    thread(0);
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, 0);
}
#endif

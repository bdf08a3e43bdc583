//: lib liba.so -ftls-model=local-dynamic
//: main -la
//: musl
//: stdout "3 7 0"
//: stdout "3 7 0"

#ifdef LIB_A
static __thread int three = 3;
static __thread int seven = 7;
static __thread int zero;
void values(int *out) {
    out[0] = three++;
    out[1] = seven++;
    out[2] = zero++;
}
#else
#include <pthread.h>
#include <stdio.h>
void values(int *);
static void *thread(void *unused) {
    int v[3];
    values(v);
    printf("%d %d %d\n", v[0], v[1], v[2]);
    return unused;
}
int main(void) {
    pthread_t id;
    thread(0);
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, 0);
}
#endif

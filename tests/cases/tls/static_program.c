//: main -static
//: musl
//: stdout "1 1"

#include <pthread.h>
#include <stdio.h>
static __thread int variable = 1;
static void *thread(void *unused) {
    (void)unused;
    return (void *)(long)variable++;
}
int main(void) {
    pthread_t id;
    void *result;
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    printf("%ld %d\n", (long)result, variable);
}

//: main
//: musl
//: stdout "1 0 x"
//: stdout "1 0 x"

#include <pthread.h>
#include <stdio.h>
static __thread int one = 1;
static __thread int zero;
static __thread char text[100] = "x";
static void *thread(void *unused) {
    printf("%d %d %s\n", one, zero, text);
    one = zero = 5;
    text[0] = 'y';
    return unused;
}
int main(void) {
    pthread_t id;
    thread(0);
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, 0);
}

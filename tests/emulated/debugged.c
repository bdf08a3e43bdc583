#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int total;
struct point { int x, y; } here = {3, 4};

int add(int a, int b) {
    total += a;
    return a + b;
}

static void *work(void *number) {
    add(5, *(int *)number);
    return 0;
}

int main(int argc, char **argv) {
    pthread_t thread;
    int sum;
    if (argc > 1 && argv[1][0] == 'f') *(volatile int *)8 = 1;         /* a fault */
    if (argc > 1 && argv[1][0] == 'e') execl(argv[0], argv[0], NULL);  /* another program */
    if (argc > 1 && argv[1][0] == 'l') for (;;) total ^= 1;            /* for Ctrl-C */
    sum = add(1, 2);
    pthread_create(&thread, 0, work, &sum);
    pthread_join(thread, 0);
    printf("%d %d\n", sum, total);
    return total;
}

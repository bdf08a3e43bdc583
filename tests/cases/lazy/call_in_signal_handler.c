//: lib liba.so
//: main -la -Wl,-z,lazy
//: musl
//: stdout 5

#ifdef LIB_A
int five(void) { return 5; }
#else
#include <signal.h>
#include <stdio.h>
int five(void);
static volatile int result;
static void handler(int unused) {
    (void)unused;
    result = five();
}
int main(void) {
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    printf("%d\n", result);
}
#endif

/* Exceptions of the CPU, handled, again and again: Unicorn's would become double faults. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
static sigjmp_buf back;
static void handler(int number) { siglongjmp(back, number); }
int main(void) {
    volatile int zero = 0, seven = 7;
    int i, s;
    signal(SIGFPE, handler);
    signal(SIGSEGV, handler);
    for (i = 0; i < 6; i++) {
        s = sigsetjmp(back, 1);
        if (s) printf("%d: signal %d\n", i, s);
        else if (i == 3) *(volatile int *)16 = 1;
        else zero = seven / zero;
    }
    return 0;
}

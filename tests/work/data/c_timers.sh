# C: interval timers interrupting dlopen, dlsym and first calls; alarm in many threads; signals with and without SA_RESTART
# needs: gcc
# with:
# with: --lazy
cat >t.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
static volatile long ticks, bad; static volatile double sink; static void tick(int s) { int e = errno; ticks++; sink += sqrt((double)ticks); errno = e; }
static void *work(void *p) { char n[20]; for (int i = 0; i < 50; i++) { sprintf(n, "./n%d.so", (i + (int)(long)p) & 3); void *h = dlopen(n, RTLD_LAZY); if (!h) { puts(dlerror()); bad++; continue; } int (*f)(int) = dlsym(h, "calls"); errno = 0; if (f(i) != i + 6 || errno) bad++; dlclose(h); } return 0; }
int main(void) {
    struct itimerval v = { { 0, 700 }, { 0, 700 } }; for (int flags = 0; flags < 2; flags++) { struct sigaction a = { .sa_handler = tick, .sa_flags = flags ? SA_RESTART : 0 }; sigaction(SIGALRM, &a, 0); sigaction(SIGPROF, &a, 0); setitimer(ITIMER_REAL, &v, 0); setitimer(ITIMER_PROF, &v, 0); pthread_t t[4]; for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, work, (void *)i); work(0); for (int i = 0; i < 4; i++) pthread_join(t[i], 0); } memset(&v, 0, sizeof v); setitimer(ITIMER_REAL, &v, 0); setitimer(ITIMER_PROF, &v, 0); printf("bad %ld ticked %d\n", bad, ticks > 3); return 0;
}
END
echo 'int abs(int); int atoi(const char *); int toupper(int); long labs(long); int calls(int x) { return abs(-x) + atoi("5") + (toupper(97) == 65) * (int)labs(-1); }' >n.c; gcc -fno-builtin -shared -fPIC n.c -o n0.so -Wl,-z,lazy; for i in 1 2 3; do cp n0.so n$i.so; done; gcc t.c -o t -lm -pthread -Wl,-z,lazy
#== run
$RUN ./t; echo "status $?"

# C: pthreads: keys, once, rwlocks, barriers, condition variables, cancellation with cleanup, TLS in threads, stack sizes
# needs: gcc
# with:
# with: --lazy
# with: --interp
cat >t.c <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern __thread int lib_tls; int bump(void);
__thread char big[50000]; __thread int own = 3;
static pthread_key_t key; static pthread_once_t once = PTHREAD_ONCE_INIT; static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER; static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER; static pthread_barrier_t bar; static int count, cleaned, destroyed, ready; static sem_t sem;
static void make(void) { puts("once"); }
static void destroy(void *p) { __sync_fetch_and_add(&destroyed, 1); free(p); }
static void clean(void *p) { __sync_fetch_and_add(&cleaned, *(int *)p); }
static void *work(void *p) {
    pthread_once(&once, make); pthread_setspecific(key, malloc(8)); own += (int)(long)p; big[49999] = own; lib_tls += (int)(long)p;
    pthread_barrier_wait(&bar);
    for (int i = 0; i < 1000; i++) { pthread_mutex_lock(&m); count++; pthread_mutex_unlock(&m); pthread_rwlock_rdlock(&rw); pthread_rwlock_unlock(&rw); }
    errno = (int)(long)p; usleep(1000); long r = own * 1000 + bump() * 10 + (errno == (int)(long)p); return (void *)r;
}
static void *forever(void *p) { int one = 1; pthread_cleanup_push(clean, &one); sem_post(&sem); for (;;) pause(); pthread_cleanup_pop(0); return p; }
static void *waits(void *p) { int ten = 10; pthread_mutex_lock(&m); pthread_cleanup_push(clean, &ten); sem_post(&sem); while (!ready) pthread_cond_wait(&c, &m); pthread_cleanup_pop(1); pthread_mutex_unlock(&m); return p; }
static void *async_(void *p) { int o = 100, s; pthread_cleanup_push(clean, &o); pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &s); sem_post(&sem); for (;;) ; pthread_cleanup_pop(0); return p; }
static void *leaves(void *p) { int t = 1000; pthread_cleanup_push(clean, &t); pthread_exit(p); pthread_cleanup_pop(0); return 0; }
static void *deep(void *p) { char a[3 << 20]; memset(a, 1, sizeof a); return (void *)(long)a[12345]; }
static void prefork(void) { puts("prefork"); fflush(stdout); }
int main(void) {
    pthread_t t[32]; void *r; pthread_key_create(&key, destroy); pthread_barrier_init(&bar, 0, 32); sem_init(&sem, 0, 0);
    for (long i = 0; i < 32; i++) pthread_create(&t[i], 0, work, (void *)i);
    long s = 0; for (int i = 0; i < 32; i++) { pthread_join(t[i], &r); s += (long)r; } printf("%ld %d %d %d %d\n", s, count, destroyed, own, lib_tls);
    pthread_create(t, 0, forever, 0); sem_wait(&sem); pthread_cancel(*t); pthread_join(*t, &r); printf("%d %d\n", r == PTHREAD_CANCELED, cleaned);
    pthread_create(t, 0, waits, 0); sem_wait(&sem); pthread_mutex_lock(&m); ready = 1; pthread_cond_broadcast(&c); pthread_mutex_unlock(&m); pthread_join(*t, &r); printf("%d\n", cleaned);
    pthread_create(t, 0, async_, 0); sem_wait(&sem); pthread_cancel(*t); pthread_join(*t, &r); printf("%d\n", cleaned);
    pthread_create(t, 0, leaves, "value"); pthread_join(*t, &r); printf("%s %d\n", (char *)r, cleaned);
    pthread_attr_t a; pthread_attr_init(&a); pthread_attr_setstacksize(&a, 4 << 20); pthread_create(t, &a, deep, 0); pthread_join(*t, &r); printf("%ld\n", (long)r);
    size_t z; void *b; pthread_getattr_np(pthread_self(), &a); pthread_attr_getstack(&a, &b, &z); printf("main stack %d\n", (char *)&z > (char *)b && (char *)&z < (char *)b + z);
    pthread_atfork(prefork, 0, 0); if (!fork()) { pthread_create(t, 0, leaves, "in the child"); pthread_join(*t, &r); printf("%s %d\n", (char *)r, own); fflush(stdout); _exit(0); } wait(0);
    char n[16]; pthread_setname_np(pthread_self(), "renamed"); pthread_getname_np(pthread_self(), n, 16); puts(n); fflush(stdout);
    pthread_create(t, 0, leaves, 0); pthread_detach(*t); pthread_exit(0);
}
END
echo '__thread int lib_tls = 40; static __thread int n = 7; int bump(void) { return ++n; }' >l.c
gcc -shared -fPIC l.c -o libl.so; gcc -O1 -fno-pie -no-pie t.c -o nopie -L. -ll -Wl,-rpath,'$ORIGIN' -pthread; gcc -O1 t.c -o pie -L. -ll -Wl,-rpath,'$ORIGIN' -pthread
gcc -shared -fPIC -mtls-dialect=gnu2 l.c -o libl2.so; mkdir desc; mv libl2.so desc/libl.so
#== run
$RUN ./pie; echo "status $?"; $RUN ./nopie; echo "status $?"; LD_LIBRARY_PATH=desc $RUN ./pie; echo "status $?"

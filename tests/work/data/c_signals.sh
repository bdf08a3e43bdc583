# C: signals: sigaltstack, SIGSEGV handlers, siglongjmp, timers, signalfd, sigqueue, masks over exec, stack overflow
# needs: gcc
# with:
# with: --lazy
cat >t.c <<'END'
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
static sigjmp_buf env; static char alt[65536]; static volatile int got, value; static char *page;
static void segv(int s, siginfo_t *i, void *c) { char x; got = (&x >= alt && &x < alt + sizeof alt) ? 1 : 2; siglongjmp(env, i->si_addr == (void *)8 ? 8 : 9); }
static void unprotect(int s, siginfo_t *i, void *c) { got = 3; mprotect(page, 4096, PROT_READ | PROT_WRITE); }
static void skip(int s, siginfo_t *i, void *c) { ((ucontext_t *)c)->uc_mcontext.gregs[REG_RIP] += 2; got = 4; }
static void info(int s, siginfo_t *i, void *c) { value += i->si_value.sival_int; }
static int deep(int n) { volatile char a[4096]; a[0] = n; return deep(n + 1) + a[0]; }
static void notify(union sigval v) { printf("timer thread %d\n", v.sival_int); fflush(stdout); value = 77; }
static void plain(int s) { value += 3; }
static void nest(int s) { static int d; double x = 1.5 * ++d; if (d < 5) raise(SIGUSR2); value += (int)x; }
int main(int argc, char **argv) {
    if (argc > 1) { sigset_t o; sigprocmask(0, 0, &o); struct sigaction a; sigaction(SIGPIPE, 0, &a); printf("after exec: usr1 blocked %d pipe ignored %d\n", sigismember(&o, SIGUSR1), a.sa_handler == SIG_IGN); return 0; }
    stack_t st = { alt, 0, sizeof alt }; sigaltstack(&st, 0); struct sigaction a = { .sa_sigaction = segv, .sa_flags = SA_SIGINFO | SA_ONSTACK }; sigaction(SIGSEGV, &a, 0);
    int r = sigsetjmp(env, 1); if (!r) *(volatile int *)8 = 1; printf("%d %d\n", r, got);
    r = sigsetjmp(env, 1); if (!r) deep(0); printf("overflow %d %d\n", r, got);
    a.sa_sigaction = unprotect; sigaction(SIGSEGV, &a, 0); page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); page[7] = 'x'; printf("%c %d\n", page[7], got);
    a.sa_sigaction = skip; sigaction(SIGILL, &a, 0); __asm__ volatile("ud2"); printf("ill %d\n", got);
    a.sa_sigaction = info; sigaction(SIGRTMIN, &a, 0); union sigval v = { .sival_int = 5 }; for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN, v); printf("%d\n", value);
    signal(SIGTRAP, plain); value = 0; raise(SIGTRAP); printf("trap %d\n", value); __asm__ volatile("int3"); puts("int3 handled");
    struct sigaction n = { .sa_handler = nest, .sa_flags = SA_NODEFER }; sigaction(SIGUSR2, &n, 0); value = 0; raise(SIGUSR2); printf("nested %d\n", value);
    sigset_t s; sigemptyset(&s); sigaddset(&s, SIGUSR1); sigprocmask(SIG_BLOCK, &s, 0); int fd = signalfd(-1, &s, 0); kill(getpid(), SIGUSR1); struct signalfd_siginfo si; read(fd, &si, sizeof si); printf("signalfd %d\n", si.ssi_signo);
    struct timespec ts = { 0, 50000000 }; printf("sigtimedwait %d\n", sigtimedwait(&s, 0, &ts));
    timer_t t; struct sigevent e = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value.sival_int = 6 }; timer_create(CLOCK_MONOTONIC, &e, &t); struct itimerspec it = { .it_value.tv_nsec = 1000000 }; timer_settime(t, 0, &it, 0); while (value != 77) usleep(1000); timer_delete(t);
    signal(SIGPIPE, SIG_IGN); printf("%s %s\n", strsignal(SIGSEGV), sigabbrev_np(SIGTERM)); fflush(stdout);
    for (int k = 0; k < 4; k++) { int sig = (int[]) { SIGABRT, SIGTERM, SIGKILL, SIGSEGV }[k]; pid_t p = fork(); if (!p) { signal(sig, SIG_DFL); if (sig == SIGABRT) abort(); if (sig == SIGSEGV) *(volatile int *)0 = 0; kill(getpid(), sig); } int w; waitpid(p, &w, 0); printf("died of %d\n", WTERMSIG(w)); fflush(stdout); }
    execl(argv[0], argv[0], "x", (char *)0);
}
END
gcc -O0 t.c -o t
cat >d.c <<'END'
#include <signal.h>
#include <stdlib.h>
int main(int c, char **v) { volatile int zero = 0; switch (atoi(v[1])) { case 0: abort(); case 1: *(volatile int *)0 = 1; case 2: return 1 / zero; case 3: raise(SIGTERM); case 4: __builtin_trap(); case 5: exit(300); case 6: __asm__("int3"); default: raise(SIGRTMIN + 2); } }
END
gcc d.c -o d 2>/dev/null
#== run
ulimit -c 0
$RUN ./t 2>&1; echo "status $?"; for i in 0 1 2 3 4 5 6 7; do $RUN ./d $i; echo "status $?"; done 2>&1 | sed 's/line [0-9]*: *[0-9]* //; s/  *\S*\/\S*python.*//; s/  *\.\/d.*//'
$RUN sh -c 'kill -STOP $$; echo continued; exit 3' & sleep .7; kill -CONT %1 2>/dev/null || kill -CONT $!; wait $!; echo "status $?"

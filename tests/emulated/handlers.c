/* Signal handlers: what they are told, what they change, where they run. All that is printed is the same on every run. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#if defined __x86_64__
#define PC(u) ((u)->uc_mcontext.gregs[REG_RIP])
#define SP(u) ((u)->uc_mcontext.gregs[REG_RSP])
#elif defined __i386__
#define PC(u) ((u)->uc_mcontext.gregs[REG_EIP])
#define SP(u) ((u)->uc_mcontext.gregs[REG_ESP])
#elif defined __arm__
#define PC(u) ((u)->uc_mcontext.arm_pc)
#define SP(u) ((u)->uc_mcontext.arm_sp)
#elif defined __aarch64__
#define PC(u) ((u)->uc_mcontext.pc)
#define SP(u) ((u)->uc_mcontext.sp)
#elif defined __riscv
#define PC(u) ((u)->uc_mcontext.__gregs[REG_PC])
#define SP(u) ((u)->uc_mcontext.__gregs[REG_SP])
#elif defined __s390x__
#define PC(u) ((u)->uc_mcontext.psw.addr)
#define SP(u) ((u)->uc_mcontext.gregs[15])
#elif defined __mips__
#define PC(u) ((u)->uc_mcontext.pc)
#define SP(u) ((u)->uc_mcontext.gregs[29])
#endif
#define THUMB(p) ((unsigned long)(p) & ~1ul)

static sigjmp_buf back;
static volatile int count, order[8];
static char *page;
static void __attribute__((noinline)) poke(volatile char *at) { *at = 1; }
static void landing(void) { siglongjmp(back, 3); }

static void fault(int number, siginfo_t *info, void *context) {
  ucontext_t *u = context;
  char here;
  unsigned long pc = PC(u), sp = SP(u), start = THUMB(poke);
  printf("fault %d code %d errno %d address %d in poke %d stack %d\n", number, info->si_code, info->si_errno,
         info->si_addr == page, pc >= start && pc < start + 64, sp > (unsigned long)&here && sp < (unsigned long)&here + 65536);
  fflush(stdout);
#ifdef __arm__
  u->uc_mcontext.arm_cpsr &= ~0x20u;
  if ((unsigned long)landing & 1) u->uc_mcontext.arm_cpsr |= 0x20;
  PC(u) = THUMB(landing);
#else
  PC(u) = (unsigned long)landing;
#endif
#ifdef __mips__
  u->uc_mcontext.gregs[25] = (unsigned long)landing;
#endif
}
static void told(int number, siginfo_t *info, void *context) {
  (void)context;
  order[count++ & 7] = number;
  printf("signal %d code %d from me %d uid %d value %d\n", number == SIGRTMIN ? 0 : number, info->si_code,
         info->si_pid == getpid(), info->si_uid == getuid(), info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
}
static void child(int number, siginfo_t *info, void *context) {
  (void)context; (void)number;
  printf("child code %d status %d pid %d\n", info->si_code, info->si_status, info->si_pid > 0);
}
static void block(int number, siginfo_t *info, void *context) {
  (void)number; (void)info;
  sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
}
static void on_stack(int number, siginfo_t *info, void *context) {
  stack_t now;
  ucontext_t *u = context;
  char here;
  (void)number; (void)info;
  sigaltstack(0, &now);
  printf("on the other stack %d, flags %d, told %d\n", &here >= page && &here < page + 65536, now.ss_flags, u->uc_stack.ss_sp == page);
}
static void tick(int number) { (void)number; count++; }
static void nothing(int number) { (void)number; }
static _Unwind_Reason_Code frame(struct _Unwind_Context *c, void *known) {
  if (_Unwind_GetIP(c)) ++*(int *)known;
  return _URC_NO_REASON;
}
static volatile int frames;
static void walk(int number) { int n = 0; (void)number; _Unwind_Backtrace(frame, &n); frames = n; }
static int __attribute__((noinline)) deep(int n) { if (n) return deep(n - 1) + 1; raise(SIGUSR1); return frames; }

static void on(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigaction(number, &action, 0);
}
static void simple(int number, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(number, &action, 0);
}
static volatile int over;
static void *thread(void *arg) { (void)arg; pause(); over = 1; return (void *)(long)(count > 40); }

int main(void) {
  setvbuf(stdout, 0, _IOLBF, 0);
  sigset_t set, old;
  siginfo_t info;
  int ends[2], status, n;
  char byte;
  struct timespec moment = {0, 20000000};
  struct itimerval timer = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
  double x = 1.5;
  page = mmap(0, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  /* a fault: where, and the way out that the handler chooses */
  on(SIGSEGV, fault, 0);
  if (!(n = sigsetjmp(back, 1))) poke(page);
  printf("landed %d\n", n);
  munmap(page, 4096);
  if (!(n = sigsetjmp(back, 1))) poke(page);
  printf("landed %d, blocked %d\n", n, (sigprocmask(SIG_BLOCK, 0, &old), sigismember(&old, SIGSEGV)));
  /* who has sent it */
  on(SIGUSR1, told, 0);
  raise(SIGUSR1);
  kill(getpid(), SIGUSR1);
  sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
  on(SIGRTMIN, told, 0);
  on(SIGUSR2, told, 0);
  sigfillset(&set);
  sigprocmask(SIG_BLOCK, &set, &old);
  for (int i = 1; i <= 3; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
  for (int i = 1; i <= 3; i++) sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = i});
  kill(getpid(), SIGUSR1);
  sigpending(&set);
  printf("pending %d %d %d\n", sigismember(&set, SIGRTMIN), sigismember(&set, SIGUSR1), sigismember(&set, SIGHUP));
  sigprocmask(SIG_SETMASK, &old, 0);
  /* the mask that a handler leaves */
  on(SIGUSR1, block, 0);
  raise(SIGUSR1);
  sigprocmask(SIG_BLOCK, 0, &set);
  printf("blocked now %d\n", sigismember(&set, SIGUSR2));
  sigprocmask(SIG_SETMASK, &old, 0);
  /* another stack */
  page = malloc(65536);
  stack_t other = {.ss_sp = page, .ss_size = 65536}, small = {.ss_sp = page, .ss_size = 100};
  n = sigaltstack(&small, 0);
  printf("small %d %d\n", n, errno == ENOMEM);
  sigaltstack(&other, 0);
  on(SIGUSR1, on_stack, SA_ONSTACK);
  raise(SIGUSR1);
  sigaltstack(0, &other);
  printf("back %d\n", other.ss_flags);
  /* calls that are interrupted */
  pipe(ends);
  simple(SIGALRM, tick, 0);
  setitimer(ITIMER_REAL, &timer, 0);
  n = read(ends[0], &byte, 1);
  printf("interrupted %d %d\n", n, errno == EINTR);
  setitimer(ITIMER_REAL, &never, 0);
  simple(SIGALRM, tick, SA_RESTART);
  setitimer(ITIMER_REAL, &timer, 0);
  if (!fork()) { for (n = 0; n < 4; n++) usleep(50000); write(ends[1], "x", 1); _exit(0); }
  n = read(ends[0], &byte, 1);
  setitimer(ITIMER_REAL, &never, 0);
  wait(&status);
  printf("made again %d %c\n", n, byte);
  /* waiting for one */
  sigemptyset(&set); sigaddset(&set, SIGUSR1); sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, 0);
  n = sigtimedwait(&set, &info, &moment);
  printf("timed out %d %d\n", n, errno == EAGAIN);
  n = fork();
  if (!n) { usleep(50000); sigqueue(getppid(), SIGUSR2, (union sigval){.sival_int = 7}); usleep(50000); _exit(5); }
  int got = sigwaitinfo(&set, &info);
  printf("waited %d code %d value %d from the child %d\n", got, info.si_code, info.si_value.sival_int, info.si_pid == n);
  on(SIGCHLD, child, 0);
  waitpid(n, &status, 0);
  n = fork();
  if (!n) _exit(6);
  while (waitpid(n, &status, 0) < 0);
  signal(SIGCHLD, SIG_DFL);
  sigprocmask(SIG_SETMASK, &old, 0);
  /* unwinding through a handler; other registers stay */
  simple(SIGUSR1, walk, 0);
  n = deep(0);
  printf("frames %d %d, x %g\n", n > 4, deep(10) - 10 - n, x * 2);
  /* handlers in handlers, once only */
  simple(SIGUSR1, nothing, SA_RESETHAND);
  raise(SIGUSR1);
  struct sigaction now;
  sigaction(SIGUSR1, 0, &now);
  printf("reset %d\n", now.sa_handler == SIG_DFL);
  /* a thread's */
  pthread_t t;
  void *result;
  count = 40;
  simple(SIGUSR1, tick, 0);
  pthread_create(&t, 0, thread, 0);
  while (!over) { usleep(20000); if (!over) pthread_kill(t, SIGUSR1); }
  pthread_join(t, &result);
  printf("thread %ld\n", (long)result);
  return 0;
}

/* signalfd: what is read, when it is ready, in children and threads. All that is printed is the same on every run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HIGH 32  /* sival_int is the first half of the pointer */
#else
#define HIGH 0
#endif

static int fd;
static const char *name(int number) { return number == SIGRTMIN + 2 ? "RTMIN+2" : sigabbrev_np(number); }
static void show(const char *what, const struct signalfd_siginfo *s, int from) {
  printf("%s: %s errno %d code %d from %d uid %d int %d ptr %x status %d\n", what, name(s->ssi_signo), s->ssi_errno, s->ssi_code,
         s->ssi_pid == from, s->ssi_uid == getuid(), s->ssi_int, (unsigned)(s->ssi_ptr >> HIGH), s->ssi_status);
}
static int ready(int d) { struct pollfd p = {d, POLLIN, 0}; return poll(&p, 1, 0) == 1 ? p.revents : 0; }
static void *reader(void *arg) {
  struct signalfd_siginfo s;
  (void)arg;
  if (read(fd, &s, sizeof s) == sizeof s) show("thread", &s, getpid());
  return 0;
}

int main(int argc, char **argv) {
  struct signalfd_siginfo s[4];
  sigset_t set, none, two;
  struct epoll_event ready_now[4], wanted = {EPOLLIN, {.u64 = 0x1122334455667788ull}};
  int n, status, ends[2];
  pthread_t t;
  setvbuf(stdout, 0, _IONBF, 0);
  if (argc > 2) {  /* after exec: mask, descriptor and what waits are as they were */
    fd = atoi(argv[2]);
    n = read(fd, s, sizeof s);
    show("after exec", s, getpid());
    return n != sizeof *s;
  }
  sigemptyset(&none);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGCHLD), sigaddset(&set, SIGALRM), sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGRTMIN + 2), sigaddset(&set, SIGKILL);
  sigprocmask(SIG_BLOCK, &set, 0);
  fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  printf("flags %d %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK), fcntl(fd, F_GETFD));
  n = read(fd, s, sizeof s);
  printf("empty %d %d ready %d\n", n, errno == EAGAIN, ready(fd));
  n = read(fd, s, 100);
  printf("short %d %d\n", n, errno == EINVAL);
  n = write(fd, s, 128);
  printf("write %d %d\n", n, errno == EINVAL);
  n = signalfd(1, &set, 0);
  printf("another kind %d %d\n", n, errno == EINVAL);
  n = signalfd(77, &set, 0);
  printf("none %d %d\n", n, errno == EBADF);
  n = signalfd(-1, &set, 1);
  printf("flags %d %d\n", n, errno == EINVAL);
  n = syscall(SYS_signalfd4, -1, &set, 3, 0);
  printf("size %d %d\n", n, errno == EINVAL);
  /* several, in order */
  sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 11});
  sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 12});
  kill(getpid(), SIGUSR2);
  kill(getpid(), SIGUSR2);
  raise(SIGUSR1);
  printf("ready %d\n", ready(fd));
  n = read(fd, s, sizeof s);
  printf("read %d\n", n / (int)sizeof *s);
  for (int i = 0; i < n / (int)sizeof *s; i++) show("queued", s + i, getpid());
  printf("ready %d\n", ready(fd));
  /* a mask that is changed, a copy, two readers */
  int copy = dup(fd);
  sigemptyset(&two);
  sigaddset(&two, SIGUSR2);
  n = signalfd(fd, &two, 0);
  printf("changed %d\n", n == fd);
  kill(getpid(), SIGUSR1);
  printf("ready %d %d\n", ready(fd), ready(copy));
  int other = signalfd(-1, &set, 0);
  printf("ready %d %d %d\n", ready(fd), ready(copy), ready(other));
  read(other, s, sizeof s);
  show("other", s, getpid());
  sigprocmask(SIG_BLOCK, 0, &none);
  printf("ready %d pending %d\n", ready(other), (sigpending(&none), sigismember(&none, SIGUSR1)));
  signalfd(copy, &set, 0);
  struct iovec parts[2] = {{s, 128}, {s + 1, 128}};
  kill(getpid(), SIGTERM);
  n = readv(fd, parts, 1);
  printf("readv %d\n", n);
  show("readv", s, getpid());
  /* from children: by kill, by their end; waiting in read, poll, select, epoll */
  fcntl(fd, F_SETFL, 0);
  n = fork();
  if (!n) { usleep(50000); kill(getppid(), SIGUSR1); usleep(50000); sigqueue(getppid(), SIGTERM, (union sigval){.sival_int = 5}); _exit(3); }
  read(fd, s, 128);
  show("child", s, n);
  int p = epoll_create1(0);
  epoll_ctl(p, EPOLL_CTL_ADD, fd, &wanted);
  int got = epoll_wait(p, ready_now, 4, 5000);
  printf("epoll %d %llx %x\n", got, (unsigned long long)ready_now[0].data.u64, ready_now[0].events);
  read(fd, s, 128);
  show("child", s, n);
  struct pollfd wait_for = {fd, POLLIN, 0};
  got = poll(&wait_for, 1, 5000);
  read(fd, s, 128);
  printf("poll %d %x\n", got, wait_for.revents);
  show("end", s, n);
  waitpid(n, &status, 0);
  printf("status %d, epoll %d\n", WEXITSTATUS(status), epoll_wait(p, ready_now, 4, 0));
  struct itimerval soon = {{0, 0}, {0, 50000}};
  fd_set reading;
  FD_ZERO(&reading);
  FD_SET(fd, &reading);
  setitimer(ITIMER_REAL, &soon, 0);
  got = select(fd + 1, &reading, 0, 0, 0);
  read(fd, s, 128);
  printf("select %d %d %s code %d\n", got, !!FD_ISSET(fd, &reading), name(s[0].ssi_signo), s[0].ssi_code);
  /* changes alone */
  wanted.events = EPOLLIN | EPOLLET;
  epoll_ctl(p, EPOLL_CTL_MOD, fd, &wanted);
  kill(getpid(), SIGUSR1);
  got = epoll_wait(p, ready_now, 4, 1000);
  n = epoll_wait(p, ready_now, 4, 0);
  kill(getpid(), SIGUSR2);
  printf("edges %d %d %d\n", got, n, epoll_wait(p, ready_now, 4, 1000));
  n = read(fd, s, sizeof s);
  printf("both %d\n", n / 128);
  /* a child reads its own */
  kill(getpid(), SIGUSR1);
  n = fork();
  if (!n) {
    int before = ready(fd);
    kill(getpid(), SIGUSR2);
    int after = ready(fd);
    read(fd, s, 128);
    printf("in the child %d %d ", before, after);
    show("own", s, getpid());
    _exit(0);
  }
  waitpid(n, &status, 0);
  n = read(fd, s, 2 * 128);
  printf("status %x, read %d, first %s then %s\n", status, n / 128, name(s[0].ssi_signo), name(s[1].ssi_signo));
  /* another thread reads */
  pthread_create(&t, 0, reader, 0);
  usleep(50000);
  sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 9});
  pthread_join(t, 0);
  /* one that is sent to a thread only that one gets */
  pthread_kill(pthread_self(), SIGUSR1);
  pthread_create(&t, 0, reader, 0);
  usleep(50000);
  sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 8});
  pthread_join(t, 0);
  read(fd, s, 128);
  printf("mine %s code %d\n", name(s[0].ssi_signo), s[0].ssi_code);
  /* a timer's */
  timer_t timer;
  struct sigevent event;
  struct itimerspec spec = {{0, 0}, {0, 20000000}};
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL, event.sigev_signo = SIGRTMIN + 2, event.sigev_value.sival_int = 33;
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  timer_settime(timer, 0, &spec, 0);
  read(fd, s, 128);
  printf("timer code %d int %d overrun %d\n", s[0].ssi_code == SI_TIMER, s[0].ssi_int, s[0].ssi_overrun);
  timer_delete(timer);
  /* without a signalfd, too: one that is blocked does nothing, until it is not */
  sigemptyset(&two);
  sigaddset(&two, SIGHUP);
  n = fork();
  if (!n) {
    sigprocmask(SIG_BLOCK, &two, 0);
    pipe(ends);
    if (!fork()) { kill(getppid(), SIGHUP); _exit(0); }
    wait(0);
    usleep(50000);
    sigpending(&none);
    printf("waits %d\n", sigismember(&none, SIGHUP));
    sigprocmask(SIG_UNBLOCK, &two, 0);
    printf("not reached\n");
    _exit(0);
  }
  waitpid(n, &status, 0);
  printf("ended by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  /* execve */
  signal(SIGCHLD, SIG_IGN);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  while (read(fd, s, 128) > 0) ;
  fcntl(fd, F_SETFD, 0);
  kill(getpid(), SIGTERM);
  char number[20];
  snprintf(number, sizeof number, "%d", fd);
  execl(argv[0], argv[0], "x", number, (char *)0);
  printf("no exec\n");
  return 1;
}

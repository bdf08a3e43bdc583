/* Timers, eventfd, timerfd, memfd, inotify, epoll. All that is printed is the same on every run. argv[1]: a directory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static volatile int ticks, given;
static void tick(int number, siginfo_t *info, void *context) {
  (void)number; (void)context;
  if (info->si_code == SI_TIMER) { ticks++; given = info->si_value.sival_int; }
}
static void alarmed(int number) { (void)number; ticks++; }
static void in_thread(union sigval value) { ticks = value.sival_int; }
static void *add(void *fd) { uint64_t one = 5; usleep(30000); write(*(int *)fd, &one, 8); return 0; }

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IOLBF, 0);
  struct sigaction action;
  struct sigevent event;
  struct itimerspec spec = {{0, 10000000}, {0, 10000000}}, left;
  struct itimerval old, period = {{0, 20000}, {0, 20000}};
  struct epoll_event ready[4], wanted = {0};
  timer_t timer;
  uint64_t number = 3;
  char path[500], text[4096];
  pthread_t t;
  int n;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = tick; action.sa_flags = SA_SIGINFO;
  sigaction(SIGRTMIN + 1, &action, 0);
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL; event.sigev_signo = SIGRTMIN + 1; event.sigev_value.sival_int = 77;
  printf("create %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer));
  timer_settime(timer, 0, &spec, 0);
  while (ticks < 3) pause();
  timer_gettime(timer, &left);
  printf("ticks, value %d, interval %ld, left %d\n", given, left.it_interval.tv_nsec, left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 10000000);
  ticks = 0;
  while (ticks < 2) ;  /* while it is busy, too */
  sigset_t set; sigemptyset(&set); sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, 0);
  usleep(100000);
  siginfo_t info;
  sigwaitinfo(&set, &info);
  printf("overrun %d, code %d\n", timer_getoverrun(timer) >= 5, info.si_code == SI_TIMER);
  n = timer_delete(timer);
  printf("delete %d %d\n", n, timer_delete(timer) < 0);
  sigprocmask(SIG_UNBLOCK, &set, 0);
  event.sigev_notify = SIGEV_THREAD; event.sigev_notify_function = in_thread; event.sigev_value.sival_int = 99;
  timer_create(CLOCK_REALTIME, &event, &timer);
  spec.it_interval.tv_nsec = 0;
  timer_settime(timer, 0, &spec, 0);
  while (ticks != 99) usleep(10000);
  printf("thread %d\n", ticks);
  timer_delete(timer);
  event.sigev_signo = 100; event.sigev_notify = SIGEV_SIGNAL;
  n = timer_create(CLOCK_MONOTONIC, &event, &timer);
  printf("bad signal %d %d\n", n, errno == EINVAL);
  n = timer_create(55, 0, &timer);
  printf("bad clock %d %d\n", n, errno == EINVAL);
  /* setitimer */
  ticks = 0;
  signal(SIGALRM, alarmed);
  setitimer(ITIMER_REAL, &period, 0);
  while (ticks < 3) pause();
  getitimer(ITIMER_REAL, &old);
  printf("interval %ld, left %d\n", (long)old.it_interval.tv_usec, old.it_value.tv_usec > 0 && old.it_value.tv_usec <= 20000);
  memset(&period, 0, sizeof period);
  setitimer(ITIMER_REAL, &period, &old);
  printf("was %ld\n", (long)old.it_interval.tv_usec);
  /* eventfd */
  int e = eventfd(2, EFD_NONBLOCK);
  write(e, &number, 8);
  n = read(e, &number, 8);
  printf("eventfd %d %llu\n", n, (unsigned long long)number);
  n = read(e, &number, 8);
  printf("empty %d %d\n", n, errno == EAGAIN);
  int s = eventfd(2, EFD_SEMAPHORE);
  read(s, &number, 8); printf("semaphore %llu\n", (unsigned long long)number);
  int d = dup(s);
  read(d, &number, 8); printf("copy %llu\n", (unsigned long long)number);
  pthread_create(&t, 0, add, &e);
  fcntl(e, F_SETFL, 0);
  read(e, &number, 8); printf("waited for %llu\n", (unsigned long long)number);
  pthread_join(t, 0);
  /* timerfd, epoll */
  int f = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), p = epoll_create1(0);
  spec.it_interval.tv_nsec = 5000000; spec.it_value.tv_nsec = 5000000;
  timerfd_settime(f, 0, &spec, 0);
  wanted.events = EPOLLIN; wanted.data.u64 = 0x123456789abcdef0ull;
  epoll_ctl(p, EPOLL_CTL_ADD, f, &wanted);
  wanted.data.fd = e;
  epoll_ctl(p, EPOLL_CTL_ADD, e, &wanted);
  n = epoll_wait(p, ready, 4, 1000);
  printf("epoll %d %llx %x\n", n, (unsigned long long)ready[0].data.u64, ready[0].events);
  usleep(30000);
  read(f, &number, 8); printf("timerfd %d\n", number >= 4 && number < 1000);
  timerfd_gettime(f, &left); printf("interval %ld\n", left.it_interval.tv_nsec);
  number = 1; write(e, &number, 8);
  epoll_ctl(p, EPOLL_CTL_DEL, f, 0);
  n = epoll_wait(p, ready, 4, 1000);
  printf("epoll %d %d\n", n, ready[0].data.fd == e);
  epoll_ctl(p, EPOLL_CTL_DEL, e, 0);
  printf("nothing %d\n", epoll_wait(p, ready, 4, 10));
  /* memfd */
  int m = memfd_create("a name", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ftruncate(m, 8192);
  char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
  strcpy(map + 4096, "shared");
  pread(m, text, 7, 4096);
  printf("memfd %s %d\n", text, fcntl(m, F_GET_SEALS));
  munmap(map, 8192);
  n = fcntl(m, F_ADD_SEALS, F_SEAL_GROW);
  printf("sealed %d %d\n", n, ftruncate(m, 16384) < 0 && errno == EPERM);
  /* inotify */
  int i = inotify_init1(IN_CLOEXEC);
  int w = inotify_add_watch(i, argv[1], IN_CREATE | IN_DELETE | IN_MODIFY);
  printf("watch %d\n", w);
  snprintf(path, sizeof path, "%s/file", argv[1]);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  unlink(path);
  n = read(i, text, sizeof text);
  for (char *at = text; at < text + n;) {
    struct inotify_event *one = (void *)at;
    printf("%d %x %s\n", one->wd, one->mask, one->len ? one->name : "");
    at += sizeof *one + one->len;
  }
  printf("gone %d\n", inotify_rm_watch(i, w));
  n = inotify_add_watch(i, "/nonexistent", IN_CREATE);
  printf("not there %d %d\n", n, errno == ENOENT);
  (void)argc;
  return 0;
}

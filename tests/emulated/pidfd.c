/* pidfd: processes as descriptors. All that is printed is the same on every run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];
static int is(int result, int error) { return result == -1 && errno == error; }
static int ready(int d, int time) { struct pollfd p = {d, POLLIN, 0}; return poll(&p, 1, time) == 1 ? p.revents : 0; }
static void told(int number, siginfo_t *info, void *context) {
  (void)context;
  printf("%s code %d from the parent %d value %d\n", sigabbrev_np(number), info->si_code, info->si_pid == getppid() || info->si_pid == getpid(),
         info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
  if (number == SIGUSR2) write(ends[1], "h", 1);
}
static int child(void *arg) { (void)arg; _exit(9); }
static void *thread(void *tid) { *(int *)tid = syscall(SYS_gettid); pause(); return 0; }
static void waited(int fd) {
  siginfo_t info;
  int result = waitid(P_PIDFD, fd, &info, WEXITED);
  printf("waited %d status %d\n", result, info.si_status);
}
static char stack[65536] __attribute__((aligned(16)));

int main(int argc, char **argv) {
  int status, fd, own, tid = 0;
  siginfo_t info;
  pthread_t t;
  pid_t pid;
  struct sigaction action;
  setvbuf(stdout, 0, _IONBF, 0);
  memset(&action, 0, sizeof action);
  action.sa_sigaction = told, action.sa_flags = SA_SIGINFO;
  /* what is none */
  printf("flags %d\n", is(pidfd_open(getpid(), 1), EINVAL));
  printf("zero %d %d\n", is(pidfd_open(0, 0), EINVAL), is(pidfd_open(-5, 0), EINVAL));
  printf("nobody %d\n", is(pidfd_open(0x3fffff, 0), ESRCH));
  pthread_create(&t, 0, thread, &tid);
  while (!*(volatile int *)&tid) usleep(1000);
  printf("a thread %d\n", pidfd_open(tid, 0) == -1);
  printf("a file %d %d %d\n", is(pidfd_send_signal(1, 0, 0, 0), EBADF), is(pidfd_getfd(1, 0, 0), EBADF), is(waitid(P_PIDFD, 1, &info, WEXITED), EBADF));
  printf("closed %d\n", is(pidfd_send_signal(77, 0, 0, 0), EBADF));
  /* this process */
  own = pidfd_open(getpid(), 0);
  printf("own %d ready %d cloexec %d\n", own > 2, ready(own, 0), fcntl(own, F_GETFD));
  sigaction(SIGUSR1, &action, 0);
  printf("sent %d\n", pidfd_send_signal(own, SIGUSR1, 0, 0));
  printf("nothing %d, flags %d, number %d\n", pidfd_send_signal(own, 0, 0, 0), is(pidfd_send_signal(own, 0, 0, 1 << 10), EINVAL), is(pidfd_send_signal(own, 99, 0, 0), EINVAL));
  char byte;
  printf("read %d, child %d\n", is(read(own, &byte, 1), EINVAL), is(waitid(P_PIDFD, own, &info, WEXITED), ECHILD));
  pipe(ends);
  fd = pidfd_getfd(own, ends[1], 0);
  write(fd, "x", 1);
  read(ends[0], &byte, 1);
  printf("own descriptor %c cloexec %d, closed %d\n", byte, fcntl(fd, F_GETFD), is(pidfd_getfd(own, 77, 0), EBADF));
  /* a child: signals, the end */
  pid = fork();
  if (!pid) {
    sigaction(SIGUSR2, &action, 0);
    write(ends[1], "r", 1);
    for (;;) pause();
  }
  fd = pidfd_open(pid, 0);
  read(ends[0], &byte, 1);
  status = pidfd_send_signal(fd, SIGUSR2, 0, 0);
  read(ends[0], &byte, 1);
  printf("sent %d\n", status);
  memset(&info, 0, sizeof info);
  info.si_signo = SIGUSR2, info.si_code = SI_QUEUE, info.si_pid = getpid(), info.si_uid = getuid(), info.si_value.sival_int = 42;
  status = pidfd_send_signal(fd, SIGUSR2, &info, 0);
  read(ends[0], &byte, 1);
  printf("queued %d\n", status);
  printf("another number %d\n", is(pidfd_send_signal(fd, SIGUSR1, &info, 0), EINVAL));
  info.si_code = SI_USER;
  printf("the kernel's %d\n", is(pidfd_send_signal(fd, SIGUSR2, &info, 0), EPERM));
  printf("ready %d\n", ready(fd, 0));
  memset(&info, 0, sizeof info);
  status = waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG);
  printf("not yet %d %d\n", status, info.si_pid);
  pidfd_send_signal(fd, SIGKILL, 0, 0);
  printf("ready %d\n", ready(fd, 5000));
  printf("seen %d", waitid(P_PIDFD, fd, &info, WEXITED | WNOWAIT));
  printf(" %s code %d status %d pid %d\n", sigabbrev_np(info.si_signo), info.si_code, info.si_status, info.si_pid == pid);
  printf("still there %d\n", pidfd_send_signal(fd, 0, 0, 0));
  printf("waited %d\n", waitid(P_PIDFD, fd, &info, WEXITED));
  printf("gone %d %d %d\n", is(pidfd_send_signal(fd, SIGUSR1, 0, 0), ESRCH), is(waitid(P_PIDFD, fd, &info, WEXITED), ECHILD), is(pidfd_getfd(fd, 0, 0), ESRCH));
  printf("opened again %d, ready %d\n", is(pidfd_open(pid, 0), ESRCH), !!(ready(fd, 0) & POLLIN));
  close(fd);
  /* waiting in epoll, and in waitid; without waiting */
  int p = epoll_create1(0);
  struct epoll_event event = {EPOLLIN, {.fd = 5}};
  pid = fork();
  if (!pid) { usleep(100000); _exit(7); }
  fd = pidfd_open(pid, PIDFD_NONBLOCK);
  printf("would wait %d\n", is(waitid(P_PIDFD, fd, &info, WEXITED), EAGAIN));
  epoll_ctl(p, EPOLL_CTL_ADD, fd, &event);
  printf("epoll %d\n", epoll_wait(p, &event, 1, 5000));
  waited(fd);
  close(fd);
  pid = fork();
  if (!pid) { usleep(100000); _exit(8); }
  fd = dup(pidfd_open(pid, 0));
  waited(fd);
  /* clone */
  fd = -1;
  pid = clone(child, stack + sizeof stack, CLONE_PIDFD | SIGCHLD, 0, &fd);
  printf("clone %d cloexec %d ready %d\n", fd > 2, fcntl(fd, F_GETFD), ready(fd, 5000));
  waited(fd);
  printf("two places %d\n", is(clone(child, stack + sizeof stack, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &fd), EINVAL));
  /* a process that is nobody's child any more */
  pid = fork();
  if (!pid) {
    if (!(pid = fork())) { close(ends[0]); pause(); _exit(0); }
    write(ends[1], &pid, sizeof pid);
    _exit(0);
  }
  waitpid(pid, &status, 0);
  read(ends[0], &pid, sizeof pid);
  fd = pidfd_open(pid, 0);
  printf("orphan %d\n", pidfd_send_signal(fd, SIGKILL, 0, 0));
  printf("ready %d\n", !!(ready(fd, 5000) & POLLIN));
  /* of others there are none */
  if (argc > 2) printf("host %d %d\n", is(pidfd_open(atoi(argv[2]), 0), ESRCH), is(pidfd_open(1, 0), ESRCH));
  return 0;
}

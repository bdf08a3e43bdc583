/* What processes share: semaphores, mutexes, names of memory, moved maps; waiting with another mask; what is left of a time.
   All that is printed is the same on every run. argv[1]: a directory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int got;
static void count(int number) { got += number == SIGUSR1 ? 1 : 100; }

struct room { sem_t sem; pthread_mutex_t robust, inherits; pthread_barrier_t barrier; int total; };
static struct room *room;

static int ended(pid_t child) { int status; waitpid(child, &status, 0); return WEXITSTATUS(status); }

static void *adds(void *lock) {
  for (int i = 0; i < 200; i++) { pthread_mutex_lock(lock); int n = room->total; if (i % 50 == 0) usleep(1000); room->total = n + 1; pthread_mutex_unlock(lock); }
  return 0;
}

static void semaphores(void) {
  pthread_mutexattr_t attr;
  pthread_barrierattr_t shared;
  room = mmap(0, sizeof *room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sem_init(&room->sem, 1, 0);
  pthread_barrierattr_init(&shared);
  pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&room->barrier, &shared, 2);
  pid_t child = fork();
  if (!child) {
    usleep(20000);
    room->total = 5;
    sem_post(&room->sem);
    pthread_barrier_wait(&room->barrier);
    _exit(7);
  }
  sem_wait(&room->sem);
  printf("semaphore %d\n", room->total);
  pthread_barrier_wait(&room->barrier);
  printf("barrier %d\n", ended(child));
  struct timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_nsec += 10000000;
  if (soon.tv_nsec >= 1000000000) { soon.tv_sec++; soon.tv_nsec -= 1000000000; }
  int n = sem_timedwait(&room->sem, &soon);
  printf("nobody %d %d\n", n, errno == ETIMEDOUT);
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&room->robust, &attr);
  child = fork();
  if (!child) { pthread_mutex_lock(&room->robust); sem_post(&room->sem); usleep(20000); _exit(0); }
  sem_wait(&room->sem);
  int first = pthread_mutex_lock(&room->robust);
  printf("robust %d %d\n", first == EOWNERDEAD, pthread_mutex_consistent(&room->robust));
  pthread_mutex_unlock(&room->robust);
  ended(child);
  pthread_mutexattr_init(&attr);
  printf("inherit %d", pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
  printf(" %d\n", pthread_mutex_init(&room->inherits, &attr));
  pthread_t threads[4];
  room->total = 0;
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, adds, &room->inherits);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
  printf("added %d\n", room->total);
}

static void masks(void) {
  struct sigaction action = {0};
  sigset_t blocked, none, now;
  fd_set set;
  int pipes[2];
  action.sa_handler = count;
  sigaction(SIGUSR1, &action, 0);
  sigaction(SIGCHLD, &action, 0);
  sigemptyset(&none);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&blocked, SIGCHLD);
  sigprocmask(SIG_BLOCK, &blocked, 0);
  pipe(pipes);
  for (int way = 0; way < 3; way++) {
    struct timespec long_time = {20, 0}, no_time = {0, 0};
    struct pollfd one = {pipes[0], POLLIN, 0};
    struct epoll_event event = {EPOLLIN};
    int handle = epoll_create1(0), n = 0;
    epoll_ctl(handle, EPOLL_CTL_ADD, pipes[0], &event);
    FD_ZERO(&set);
    FD_SET(pipes[0], &set);
    got = 0;
    kill(getpid(), SIGUSR1);
    int before = got;
    if (way == 0) n = pselect(pipes[0] + 1, &set, 0, 0, &long_time, &none);
    if (way == 1) n = ppoll(&one, 1, &long_time, &none);
    if (way == 2) n = epoll_pwait(handle, &event, 1, 20000, &none);
    printf("way %d: %d, then %d %d %d,", way, before, n, errno == EINTR, got);
    sigprocmask(SIG_BLOCK, 0, &now);
    printf(" blocked %d,", sigismember(&now, SIGUSR1));
    kill(getpid(), SIGUSR1);
    if (way == 0) { FD_SET(pipes[0], &set); n = pselect(pipes[0] + 1, &set, 0, 0, &no_time, &none); }
    if (way == 1) n = ppoll(&one, 1, &no_time, &none);
    if (way == 2) n = epoll_pwait(handle, &event, 1, 0, &none);
    printf(" at once %d,", got);
    write(pipes[1], "x", 1);
    kill(getpid(), SIGUSR1);
    if (way == 0) { FD_SET(pipes[0], &set); n = pselect(pipes[0] + 1, &set, 0, 0, &long_time, &blocked); }
    if (way == 1) n = ppoll(&one, 1, &long_time, &blocked);
    if (way == 2) n = epoll_pwait(handle, &event, 1, 20000, &blocked);
    printf(" ready %d %d\n", n, got);
    read(pipes[0], &n, 1);
    sigtimedwait(&blocked, 0, &no_time);
    close(handle);
  }
  got = 0;
  pid_t child = fork();
  if (!child) { usleep(20000); _exit(3); }
  FD_ZERO(&set);
  int n = pselect(0, 0, 0, 0, 0, &none);
  printf("child %d %d\n", n, got);
  printf("it %d\n", ended(child));
  sigprocmask(SIG_UNBLOCK, &blocked, 0);
}

static void *interrupts(void *who) { usleep(30000); pthread_kill(*(pthread_t *)who, SIGUSR1); return 0; }

static void times(void) {
  pthread_t self = pthread_self(), other;
  struct timespec wanted = {10, 0}, left = {0, 0};
  struct timeval rest = {10, 0};
  pthread_create(&other, 0, interrupts, &self);
  int n = nanosleep(&wanted, &left);
  printf("nanosleep %d, %d left\n", n, left.tv_sec == 9 && left.tv_nsec > 0);
  pthread_join(other, 0);
  int pipes[2];
  pipe(pipes);
  write(pipes[1], "x", 1);
  pthread_create(&other, 0, interrupts, &self);
  n = select(0, 0, 0, 0, &rest);
  printf("select %d, %d left\n", n, rest.tv_sec == 9);
  pthread_join(other, 0);
}

static void names(char *directory) {
  char path[500];
  sem_t *named = sem_open("/rtld-test-semaphore", O_CREAT | O_EXCL, 0600, 2);
  printf("sem_open %d", named != SEM_FAILED);
  sem_unlink("/rtld-test-semaphore");
  sem_wait(named);
  printf(" %d\n", sem_trywait(named));
  int fd = shm_open("/rtld-test-memory", O_CREAT | O_EXCL | O_RDWR, 0600);
  ftruncate(fd, 8192);
  char *one = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char *two = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  strcpy(one, "seen");
  printf("shm %d %s", fd >= 0, two);
  one = mremap(one, 4096, 8192, MREMAP_MAYMOVE);
  strcpy(one, "moved");
  strcpy(one + 4096, "grown");
  pread(fd, path, 6, 4096);
  printf(" %s %s %d\n", two, path, shm_unlink("/rtld-test-memory"));
  snprintf(path, sizeof path, "%s/file", directory);
  fd = open(path, O_CREAT | O_RDWR, 0600);
  struct stat found;
  printf("change %d", fchmod(fd, 0640));
  fstat(fd, &found);
  printf(" %o\n", found.st_mode & 07777);
  unlink(path);
}

static void events(void) {
  struct epoll_event event = {0}, ready;
  int handle = epoll_create1(0);
  for (int i = 0; i < 3; i++) {  /* numbers of closed descriptors come again */
    int a = eventfd(0, 0), b = eventfd(1, 0);
    event.events = EPOLLIN;
    event.data.u64 = 100 + i;
    epoll_ctl(handle, EPOLL_CTL_ADD, i % 2 ? a : b, &event);
    if (i % 2) { uint64_t x = 1; write(a, &x, 8); }
    int n = epoll_wait(handle, &ready, 1, 1000);
    printf("epoll %d %d\n", n, (int)ready.data.u64);
    close(i == 1 ? b : a);
    close(i == 1 ? a : b);
    (void)dup(0);
  }
}

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IOLBF, 0);
  semaphores();
  masks();
  times();
  names(argv[1]);
  events();
}

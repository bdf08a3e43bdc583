/* sendmmsg, recvmmsg. All that is printed is the same on every run. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct mmsghdr m[8];
static struct iovec v[8][2];
static char data[8][2][64], big[1000];
static void prepare(int room) {
  memset(m, 0, sizeof m);
  for (int i = 0; i < 8; i++) {
    for (int k = 0; k < 2; k++) v[i][k] = (struct iovec){data[i][k], room};
    m[i].msg_hdr.msg_iov = v[i], m[i].msg_hdr.msg_iovlen = 2;
  }
}
static void show(const char *what, int n) {
  printf("%s %d:", what, n);
  for (int i = 0; i < n; i++) printf(" %d/%x %.*s|", m[i].msg_len, m[i].msg_hdr.msg_flags, m[i].msg_len > 8 ? 8 : (int)m[i].msg_len, data[i][0]);
  printf(" %s\n", n < 0 ? strerrorname_np(errno) : "");
}
static int pair[2], got;
/* The kernel keeps the error that has ended a call in its midst for the next one. */
static void forget(int fd) { int error; socklen_t size = sizeof error; getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size); }
static void on(int number) { (void)number; }
static void *drain(void *arg) {
  char text[1000];
  usleep(20000);
  while (got < 300) {
    int n = recv(pair[1], text, sizeof text, 0);
    if (n != 1000 || text[0] != (char)got) { printf("wrong %d at %d\n", n, got); break; }
    got++;
    if (got % 50 == 0) usleep(1000);
  }
  return arg;
}
static void handler(int number, int flags, int after) {
  struct sigaction action;
  struct itimerval timer = {{0, after}, {0, after}};  /* again and again: the first may come too early */
  memset(&action, 0, sizeof action);
  action.sa_handler = on, action.sa_flags = flags;
  sigaction(number, &action, 0);
  setitimer(ITIMER_REAL, &timer, 0);
}

int main(int argc, char **argv) {
  struct timespec time = {5, 0};
  int n;
  setvbuf(stdout, 0, _IOLBF, 0);
  socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
  /* three messages of two parts each; more are wanted than there are */
  prepare(4);
  for (int i = 0; i < 3; i++) sprintf(data[i][0], "<%d>", i), v[i][0].iov_len = 3, sprintf(data[i][1], "more"), v[i][1].iov_len = i;
  show("sent", sendmmsg(pair[0], m, 3, 0));
  prepare(3);
  memset(data, '.', sizeof data);
  show("got", recvmmsg(pair[1], m, 8, MSG_WAITFORONE, 0));
  show("nothing", recvmmsg(pair[1], m, 8, MSG_DONTWAIT, 0));
  show("of none", recvmmsg(pair[1], m, 0, 0, 0));
  show("no socket", recvmmsg(0, m, 1, 0, 0));
  show("no socket", sendmmsg(0, m, 0, 0));
  show("closed", sendmmsg(99, m, 1, 0));
  /* one is cut, one cannot be read */
  prepare(4);
  for (int i = 0; i < 3; i++) memcpy(data[i][0], "abcdefgh", 9), v[i][0].iov_len = 8, v[i][1].iov_len = 0;
  sendmmsg(pair[0], m, 3, 0);
  prepare(2);
  v[1][0].iov_len = v[1][1].iov_len = 10;
  v[2][0].iov_base = (void *)8;
  show("cut", recvmmsg(pair[1], m, 3, MSG_DONTWAIT, 0));
  forget(pair[1]);
  prepare(4);
  while (recv(pair[1], big, sizeof big, MSG_DONTWAIT) > 0) ;
  memcpy(data[0][0], "abcdefgh", 9);
  v[1][0].iov_base = (void *)8, v[0][0].iov_len = 3, v[0][1].iov_len = 0;
  memcpy(data[0][0], "ok", 3);
  show("bad second", sendmmsg(pair[0], m, 2, 0));
  show("bad first", sendmmsg(pair[0], m + 1, 1, 0));
  prepare(5);
  show("got", recvmmsg(pair[1], m, 1, 0, 0));
  /* a descriptor in the second one */
  char room[CMSG_SPACE(sizeof(int))];
  memset(room, 0, sizeof room);
  prepare(5);
  v[0][1].iov_len = v[1][1].iov_len = 0;
  m[1].msg_hdr.msg_control = room, m[1].msg_hdr.msg_controllen = sizeof room;
  struct cmsghdr *c = CMSG_FIRSTHDR(&m[1].msg_hdr);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
  int ends[2];
  pipe(ends);
  memcpy(CMSG_DATA(c), &ends[1], sizeof(int));
  n = sendmmsg(pair[0], m, 2, 0);
  printf("with a descriptor %d\n", n);
  prepare(5);
  memset(room, 0, sizeof room);
  m[1].msg_hdr.msg_control = room, m[1].msg_hdr.msg_controllen = sizeof room;
  n = recvmmsg(pair[1], m, 2, 0, 0);
  c = CMSG_FIRSTHDR(&m[1].msg_hdr);
  int fd = -1;
  if (c) memcpy(&fd, CMSG_DATA(c), sizeof fd);
  write(fd, "pipe", 4);
  read(ends[0], big, 4);
  printf("got %d, control %d %d, through it %.4s\n", n, (int)m[0].msg_hdr.msg_controllen, c && c->cmsg_type == SCM_RIGHTS, big);
  /* the time: looked at when something has come */
  send(pair[0], "1", 1, 0), send(pair[0], "2", 1, 0);
  show("in time", recvmmsg(pair[1], m, 2, 0, &time));
  printf("left %d\n", time.tv_sec == 4 && time.tv_nsec > 0);
  time = (struct timespec){0, 0};
  send(pair[0], "1", 1, 0), send(pair[0], "2", 1, 0);
  show("no time", recvmmsg(pair[1], m, 2, 0, &time));
  show("the other", recvmmsg(pair[1], m, 2, MSG_DONTWAIT, 0));
  time = (struct timespec){-1, 0};
  show("bad time", recvmmsg(pair[1], m, 2, 0, &time));
  /* a handler ends it: with what there is */
  handler(SIGALRM, 0, 100000);
  show("interrupted", recvmmsg(pair[1], m, 2, 0, 0));
  send(pair[0], "1", 1, 0);
  handler(SIGALRM, SA_RESTART, 100000);
  show("interrupted", recvmmsg(pair[1], m, 2, 0, 0));
  forget(pair[1]);
  handler(SIGALRM, 0, 0);
  /* more than there is room for: the call waits, and goes on where it was */
  struct mmsghdr *all = calloc(300, sizeof *all);
  struct iovec *parts = calloc(300, sizeof *parts);
  char *text = malloc(300 * 1000);
  pthread_t t;
  for (int i = 0; i < 300; i++) {
    memset(text + i * 1000, i, 1000);
    parts[i] = (struct iovec){text + i * 1000, 1000};
    all[i].msg_hdr.msg_iov = parts + i, all[i].msg_hdr.msg_iovlen = 1;
  }
  pthread_create(&t, 0, drain, 0);
  n = sendmmsg(pair[0], all, 300, 0);
  pthread_join(t, 0);
  printf("sent %d got %d last %d\n", n, got, all[299].msg_len);
  n = sendmmsg(pair[0], all, 300, MSG_DONTWAIT);
  printf("without waiting %d\n", n > 0 && n < 300);
  /* addresses */
  int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in here = {.sin_family = AF_INET}, from[2];
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(a, (void *)&here, sizeof here), bind(b, (void *)&here, sizeof here);
  socklen_t size = sizeof here;
  getsockname(b, (void *)&here, &size);
  prepare(5);
  for (int i = 0; i < 2; i++) m[i].msg_hdr.msg_name = &here, m[i].msg_hdr.msg_namelen = sizeof here, memcpy(data[i][0], "inet ", 5);
  show("inet sent", sendmmsg(a, m, 2, 0));
  prepare(5);
  for (int i = 0; i < 2; i++) m[i].msg_hdr.msg_name = from + i, m[i].msg_hdr.msg_namelen = sizeof *from;
  show("inet got", recvmmsg(b, m, 2, 0, 0));
  getsockname(a, (void *)&here, &size);
  printf("from %d %d %d\n", m[0].msg_hdr.msg_namelen, from[0].sin_port == here.sin_port, from[1].sin_addr.s_addr == here.sin_addr.s_addr);
  return 0;
}

/* Sockets: pairs, unix, loopback; descriptors in messages. All that is printed is the same on every run. argv[1]: a directory. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int failed_with(int result, int wanted) { return result == -1 && errno == wanted; }
static struct sockaddr_un un(const char *path, socklen_t *size) {
  struct sockaddr_un a;
  memset(&a, 0, sizeof a);
  a.sun_family = AF_UNIX;
  size_t n = *path ? strlen(path) + 1 : strlen(path + 1) + 1;
  memcpy(a.sun_path, path, n);
  *size = offsetof(struct sockaddr_un, sun_path) + n;
  return a;
}
static void *slow(void *fd) { usleep(30000); write(*(int *)fd, "ab", 2); usleep(30000); write(*(int *)fd, "cd", 2); return 0; }
static void *serve(void *fd) {
  char text[100];
  int c = accept(*(int *)fd, 0, 0), n;
  while ((n = read(c, text, sizeof text)) > 0) { for (int i = 0; i < n; i++) text[i] ^= 0x20; write(c, text, n); }
  close(c);
  return 0;
}
static void send_fd(int s, int fd) {
  char control[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET; c->cmsg_type = SCM_RIGHTS; c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  printf("sent %d\n", (int)sendmsg(s, &m, 0));
}
static int take_fd(int s) {
  char control[CMSG_SPACE(sizeof(int))] = "", byte = 0;
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  int fd = -1, n = recvmsg(s, &m, MSG_CMSG_CLOEXEC);
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  if (c) memcpy(&fd, CMSG_DATA(c), sizeof fd);
  printf("took %d %c %d %d\n", n, byte, c && c->cmsg_type == SCM_RIGHTS, (m.msg_flags & MSG_CTRUNC) != 0);
  return fd;
}

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IOLBF, 0);
  char path[100], other[100], text[200];
  int s[2], n, one = 1;
  socklen_t size, had;
  pthread_t t;
  struct sockaddr_un address, got;
  signal(SIGPIPE, SIG_IGN);
  /* pairs */
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  pthread_create(&t, 0, slow, &s[1]);
  n = recv(s[0], text, 4, MSG_WAITALL);
  printf("all %d %.4s\n", n, text);
  pthread_join(t, 0);
  send(s[0], "peek", 4, 0);
  n = recv(s[1], text, 10, MSG_PEEK); printf("peek %d", n);
  n = recv(s[1], text, 10, 0); printf(" %d %.4s\n", n, text);
  n = recv(s[1], text, 10, MSG_DONTWAIT);
  printf("empty %d\n", failed_with(n, EAGAIN));
  pipe((int *)text);
  int ends[2]; memcpy(ends, text, sizeof ends);
  send_fd(s[0], ends[0]);
  int fd = take_fd(s[1]);
  write(ends[1], "through", 7);
  n = read(fd, text, 20); printf("%.*s, close on exec %d\n", n, text, fcntl(fd, F_GETFD));
  struct timeval moment = {0, 30000};
  setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
  n = read(s[1], text, 1);
  printf("timed out %d\n", failed_with(n, EAGAIN));
  struct ucred cred; size = sizeof cred;
  getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &size);
  printf("peer %d %d\n", cred.pid == getpid(), cred.uid == getuid());
  shutdown(s[0], SHUT_WR);
  n = read(s[1], text, 1); printf("end %d\n", n);
  close(s[0]);
  n = send(s[1], "x", 1, MSG_NOSIGNAL);
  printf("broken %d\n", failed_with(n, EPIPE));
  /* unix */
  snprintf(path, sizeof path, "%s/server", argv[1]); snprintf(other, sizeof other, "%s/client", argv[1]);
  int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  address = un(path, &size);
  n = connect(l, (void *)&address, size);
  printf("nobody %d\n", failed_with(n, ENOENT));
  printf("bind %d listen %d\n", bind(l, (void *)&address, size), listen(l, 3));
  struct stat st; stat(path, &st); printf("socket %d\n", S_ISSOCK(st.st_mode));
  n = socket(AF_UNIX, SOCK_STREAM, 0);
  printf("in use %d\n", failed_with(bind(n, (void *)&address, size), EADDRINUSE));
  close(n);
  pthread_create(&t, 0, serve, &l);
  int c = socket(AF_UNIX, SOCK_STREAM, 0);
  printf("connect %d\n", connect(c, (void *)&address, size));
  write(c, "hello", 5); n = read(c, text, 100); printf("%.*s\n", n, text);
  had = sizeof got; memset(&got, 0, sizeof got);
  getpeername(c, (void *)&got, &had); printf("peer %d %d\n", !strcmp(got.sun_path, path), had == size);
  had = sizeof got; getsockname(c, (void *)&got, &had); printf("own %d\n", (int)had);
  close(c); pthread_join(t, 0); close(l); unlink(path);
  n = socket(AF_UNIX, SOCK_STREAM, 0);
  fd = open(path, O_CREAT, 0600);
  printf("no socket %d\n", failed_with(connect(n, (void *)&address, size), ECONNREFUSED));
  close(n); unlink(path);
  int d = socket(AF_UNIX, SOCK_DGRAM, 0), e = socket(AF_UNIX, SOCK_DGRAM, 0);
  bind(d, (void *)&address, size);
  socklen_t osize; struct sockaddr_un oaddress = un(other, &osize);
  bind(e, (void *)&oaddress, osize);
  sendto(e, "question", 8, 0, (void *)&address, size);
  had = sizeof got; memset(&got, 0, sizeof got);
  n = recvfrom(d, text, 100, 0, (void *)&got, &had);
  printf("%.*s from the client %d\n", n, text, !strcmp(got.sun_path, other));
  sendto(d, "answer", 6, 0, (void *)&got, had);
  n = recv(e, text, 100, 0); printf("%.*s\n", n, text);
  close(d); close(e);
  d = socket(AF_UNIX, SOCK_DGRAM, 0); e = socket(AF_UNIX, SOCK_DGRAM, 0);
  address = un("\0abstract name", &size);
  printf("abstract %d\n", bind(d, (void *)&address, size));
  had = sizeof got; getsockname(d, (void *)&got, &had); printf("name %d %d\n", had == size, !memcmp(got.sun_path, address.sun_path, 14));
  connect(e, (void *)&address, size);
  write(e, "abstract", 8); n = read(d, text, 100); printf("%.*s\n", n, text);
  /* loopback */
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, peer;
  l = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  printf("bind %d listen %d\n", bind(l, (void *)&in, sizeof in), listen(l, 3));
  had = sizeof in; getsockname(l, (void *)&in, &had);
  printf("port %d address %s\n", in.sin_port != 0, inet_ntoa(in.sin_addr));
  pthread_create(&t, 0, serve, &l);
  c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  n = connect(c, (void *)&in, sizeof in);
  printf("begun %d\n", n == 0 || errno == EINPROGRESS);
  struct pollfd p = {c, POLLOUT, 0};
  printf("poll %d %d\n", poll(&p, 1, 1000), p.revents);
  size = sizeof n; getsockopt(c, SOL_SOCKET, SO_ERROR, &n, &size); printf("error %d\n", n);
  fcntl(c, F_SETFL, 0);
  setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  n = 0; getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &n, &size); printf("option %d\n", n != 0);
  write(c, "TCP", 3); n = read(c, text, 100); printf("%.*s\n", n, text);
  had = sizeof peer; getpeername(c, (void *)&peer, &had); printf("peer %d\n", peer.sin_port == in.sin_port);
  close(c); pthread_join(t, 0); close(l);
  c = socket(AF_INET, SOCK_STREAM, 0);
  printf("refused %d\n", failed_with(connect(c, (void *)&in, sizeof in), ECONNREFUSED));
  d = socket(AF_INET, SOCK_DGRAM, 0); e = socket(AF_INET, SOCK_DGRAM, 0);
  in.sin_port = 0; bind(d, (void *)&in, sizeof in); had = sizeof in; getsockname(d, (void *)&in, &had);
  sendto(e, "UDP", 3, 0, (void *)&in, sizeof in);
  had = sizeof peer; n = recvfrom(d, text, 100, 0, (void *)&peer, &had);
  printf("%.*s from %s %d\n", n, text, inet_ntoa(peer.sin_addr), peer.sin_port != 0);
  size = sizeof n; getsockopt(d, SOL_SOCKET, SO_TYPE, &n, &size); printf("type %d\n", n == SOCK_DGRAM);
  n = socket(AF_INET, SOCK_STREAM, 0);
  fd = open("/dev/null", O_RDONLY);
  printf("none %d\n", failed_with(bind(fd, (void *)&in, sizeof in), ENOTSOCK));
  (void)argc;
  return 0;
}

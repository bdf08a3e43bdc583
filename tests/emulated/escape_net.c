/* Tries to reach the host's sockets and files in new ways; prints what it got hold of. argv: a socket of the host's, its abstract twin. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int to(const char *name, int size) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  int s = socket(AF_UNIX, SOCK_STREAM, 0), r;
  memcpy(a.sun_path, name, size);
  r = connect(s, (void *)&a, offsetof(struct sockaddr_un, sun_path) + size);
  close(s);
  return r == 0;
}
static int internet(const char *host, int kind) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};
  int s = socket(AF_INET, kind, 0), r;
  inet_pton(AF_INET, host, &a.sin_addr);
  r = kind == SOCK_DGRAM ? sendto(s, "x", 1, 0, (void *)&a, sizeof a) : connect(s, (void *)&a, sizeof a);
  close(s);
  return r >= 0;
}

int main(int argc, char **argv) {
  char name[200], path[4096];
  printf("path %d\n", to(argv[1], strlen(argv[1]) + 1));
  name[0] = 0; strcpy(name + 1, argv[2]);
  printf("abstract %d\n", to(name, strlen(argv[2]) + 1));
  symlink(argv[1], "/tmp/link");
  printf("link %d\n", to("/tmp/link", 10));
  snprintf(name, sizeof name, "/tmp/../../../../../../../../../..%s", argv[1]);
  printf("dots %d\n", strlen(name) < 108 && to(name, strlen(name) + 1));
  printf("inotify %d\n", inotify_add_watch(inotify_init1(0), argv[1], IN_OPEN) >= 0);
  struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/../../../../../../../../../tmp/rtld-escaped-socket"};
  bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, sizeof a);
  printf("bound inside %d\n", access("/tmp/rtld-escaped-socket", F_OK) == 0);
  printf("outside %d %d\n", internet("192.0.2.1", SOCK_DGRAM), internet("10.255.255.1", SOCK_DGRAM));
  printf("any %d\n", internet("255.255.255.255", SOCK_DGRAM));
  printf("raw %d packet %d netlink %d\n", socket(AF_INET, SOCK_RAW, 1) >= 0, socket(AF_PACKET, SOCK_RAW, 0) >= 0, socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
  struct ifreq request = {.ifr_name = "lo"};
  printf("ioctl %d\n", ioctl(socket(AF_INET, SOCK_DGRAM, 0), 0x8913, &request) >= 0);
  setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET, 25, "lo", 3);
  int m = memfd_create("../../../../tmp/rtld-escaped-memfd", 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d/../../../../..%s", m, argv[1]);
  printf("memfd %d\n", open(path, O_RDONLY) >= 0);
  int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  char *at = shmat(id, 0, 0);
  /* beyond the segment is nothing: not the table of keys, not another's segment */
  printf("segment %d beyond %d\n", at != (void *)-1, mremap(at, 4096, 1 << 20, MREMAP_MAYMOVE) != MAP_FAILED && write(m, at + 65536, 4096) == 4096 && at[65536]);
  printf("another's %d\n", shmat(0, 0, 0) != (void *)-1);
  (void)argc;
  return 0;
}

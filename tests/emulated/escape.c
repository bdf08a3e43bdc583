/* Tries to reach what a guest has not been given; prints what it got hold of. argv: a secret file of the host's, its pid. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int reached;

static void try(const char *way, const char *path) {
  char text[16] = "";
  int fd = open(path, O_RDONLY);
  if (fd < 0) return;
  if (read(fd, text, 6) == 6 && !strcmp(text, "secret")) { printf("%s: reached\n", way); reached++; }
  close(fd);
}

int main(int argc, char **argv) {
  const char *secret = argv[1];
  char path[4096], deep[4096];
  try("by its name", secret);
  for (int i = 0; i < 40; i++) memcpy(path + 3 * i, "../", 3);
  strcpy(path + 120, secret + 1);
  try("by ..", path);
  if (symlink(secret, "/tmp/link") && errno != EEXIST) perror("symlink");
  try("through a link", "/tmp/link");
  if (symlink(path, "/tmp/link2") && errno != EEXIST) perror("symlink");
  try("through a relative link", "/tmp/link2");
  symlink("/tmp/link", "/tmp/link3");
  try("through two links", "/tmp/link3");
  snprintf(deep, sizeof deep, "/proc/self/root%s", secret); try("through /proc/self/root", deep);
  snprintf(deep, sizeof deep, "/proc/1/root%s", secret); try("through /proc/1/root", deep);
  snprintf(deep, sizeof deep, "/proc/self/cwd/%s", path); try("through /proc/self/cwd", deep);
  snprintf(deep, sizeof deep, "/proc/%s/environ", argv[2]); printf("environ %d\n", open(deep, O_RDONLY) < 0);
  snprintf(deep, sizeof deep, "/proc/%s/mem", argv[2]); printf("mem %d\n", open(deep, O_RDWR) < 0);
  printf("self mem %d\n", open("/proc/self/mem", O_RDWR) < 0);
  mkdir("/tmp/dir", 0700);
  int dir = open("/tmp/dir", O_RDONLY | O_DIRECTORY);
  rename("/tmp/dir", "/tmp/moved");
  int fd = openat(dir, path, O_RDONLY);
  printf("openat %d\n", fd < 0);
  printf("fchdir %d\n", fchdir(dir) == 0 ? open(path, O_RDONLY) < 0 : 1);
  printf("link %d\n", link(secret, "/tmp/hard") < 0);
  printf("rename %d\n", rename(secret, "/tmp/mine") < 0);
  printf("write %d\n", open("/../../../../../../../../tmp/rtld-escaped", O_CREAT | O_WRONLY, 0600) >= 0);
  printf("kill %d %d\n", kill(atoi(argv[2]), 0) < 0, kill(1, 0) < 0);
  for (int n = 3; n < 64; n++) if (n != dir && fcntl(n, F_GETFD) == 0) {
    struct stat s; fstat(n, &s); if (S_ISREG(s.st_mode) && s.st_size == 6) { printf("descriptor %d\n", n); reached++; } }
  printf("socket %d\n", socket(AF_INET, SOCK_STREAM, 0) < 0);
  printf("device %d\n", mknod("/tmp/device", S_IFBLK | 0600, 0x800) < 0);
  printf("memory %d\n", mmap((void *)0x7f0000000000ul, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
  printf("reached %d\n", reached);
  (void)argc;
}

/* Tries to change what it may only read, and to get at the pages that lead to Python. argv: a file, its directory. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct timespec times[2] = {{1, 0}, {1, 0}};
  struct stat found;
  char name[64], line[300];
  unsigned long low = 0, high = 0;
  int fd = open(argv[1], O_RDONLY), dir = open(argv[2], O_RDONLY | O_DIRECTORY), null = open("/dev/null", O_RDWR);
  printf("opened %d\n", fd >= 0 && dir >= 0);
  printf("mode %d %d %d %d\n", fchmod(fd, 0777), fchmod(dir, 0777), fchmod(null, 0600), fchmod(0, 0777));
  printf("owner %d %d\n", fchown(fd, 1, 1), fchown(dup(fd), 1, 1));
  printf("time %d %d\n", futimens(fd, times), utimensat(AT_FDCWD, argv[1], times, 0));
  sprintf(name, "/proc/self/fd/%d", fd);
  printf("again %d %d %d\n", open(name, O_RDWR), chmod(name, 0777), linkat(AT_FDCWD, name, AT_FDCWD, "/tmp/hard", AT_SYMLINK_FOLLOW));
  printf("mapped %d\n", mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
  fd = open("/tmp/own", O_CREAT | O_RDWR, 06777);
  printf("own %d %d %d\n", fchmod(fd, 06755), futimens(fd, times), chmod("/tmp/own", 06711));
  fstat(fd, &found);
  printf("set-ID %o\n", found.st_mode & 06000);
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps)) if (strstr(line, "[rtld]")) sscanf(line, "%lx-%lx", &low, &high);
  printf("traps %d %d %d %d %d\n", munmap((void *)low, high - low), mprotect((void *)low, 4096, 7), madvise((void *)low, 4096, MADV_DONTNEED),
         mremap((void *)low, 4096, 8192, MREMAP_MAYMOVE) == MAP_FAILED, mmap((void *)low, 4096, 3, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  char *two = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(two, 4096, PROT_READ);
  printf("two rights %d\n", mremap(two, 8192, 16384, MREMAP_MAYMOVE) == MAP_FAILED);
  mkfifo("/tmp/pipe", 0600);
  if (!fork()) { fd = open("/tmp/pipe", O_WRONLY); write(fd, "through", 7); _exit(0); }
  fd = open("/tmp/pipe", O_RDONLY);
  printf("pipe %d\n", (int)read(fd, line, 20));
  wait(0);
  fflush(stdout);
  if (argc > 3) open("/tmp/pipe", O_RDONLY), read(open("/tmp/pipe", O_RDONLY), line, 1);
}

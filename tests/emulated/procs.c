/* /proc as ps reads it: which processes there are, and what they say. All that is printed is the same on every run. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static int slurp(int at, const char *path, char *text, int size) {
  int fd = openat(at, path, O_RDONLY), n = fd < 0 ? -1 : read(fd, text, size - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
  return n;
}
static int listed(const char *directory, const char *name, int *all) {
  DIR *d = opendir(directory);
  struct dirent *e;
  int found = 0;
  *all = 0;
  while (d && (e = readdir(d))) {
    if (!strcmp(e->d_name, name)) found += e->d_type == DT_DIR ? 1 : e->d_type == DT_LNK ? 2 : e->d_type == DT_REG ? 4 : 8;
    *all += e->d_name[0] >= '0' && e->d_name[0] <= '9';
  }
  if (d) closedir(d);
  return found;
}
static void field(const char *text, const char *name) {
  const char *at = strstr(text, name);
  if (at) printf(" %.*s", (int)strcspn(at, "\n"), at);
  else printf(" no %s", name);
}
static void show(const char *what, pid_t pid, pid_t parent) {
  char path[100], text[8192], comm[64] = "", state = 0;
  struct stat s;
  long ppid = 0, group = 0, session = 0, threads = 0, size = 0, rss = 0;
  unsigned long long begun = 0;
  int all, n;
  snprintf(path, sizeof path, "%d", pid);
  printf("%s: listed %d,", what, listed("/proc", path, &all));
  snprintf(path, sizeof path, "/proc/%d", pid);
  n = stat(path, &s);
  printf(" directory %d mine %d", !n && S_ISDIR(s.st_mode), !n && s.st_uid == geteuid());
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  n = slurp(AT_FDCWD, path, text, sizeof text);
  if (n <= 0) { printf(" gone %d\n", errno == ENOENT || errno == ESRCH); return; }
  char *end = strrchr(text, ')');
  printf(" pid %d %.*s", atoi(text) == pid, (int)(end - strchr(text, '(')) + 1, strchr(text, '('));
  sscanf(end + 1, " %c %ld %ld %ld %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu %ld %ld", &state, &ppid, &group,
         &session, &threads, &begun, &size, &rss);
  printf(" %c parent %d group %d session %d threads %ld begun %d size %d", state, ppid == parent, group == getpgid(pid), session == getsid(0),
         threads, begun > 0, size > 0 && rss > 0);
  n = 0;
  for (char *at = end + 1; *at; at++) n += *at == ' ';
  printf(" fields %d", n + 2);
  snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
  n = slurp(AT_FDCWD, path, text, sizeof text);
  printf(" cmdline %d", n > 0);
  for (char *at = text; at < text + n; at += strlen(at) + 1) if (at == text || *at != '/') printf(" [%s]", strrchr(at, '/') ? strrchr(at, '/') + 1 : at);
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  slurp(AT_FDCWD, path, comm, sizeof comm);
  comm[strcspn(comm, "\n")] = 0;
  printf(" comm %s\n ", comm);
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  slurp(AT_FDCWD, path, text, sizeof text);
  field(text, "Name:"), field(text, "State:"), field(text, "Threads:");
  printf(" Tgid %d PPid %d Uid %d\n", atoi(strstr(text, "Tgid:") + 5) == pid, atoi(strstr(text, "PPid:") + 5) == parent,
         atoi(strstr(text, "Uid:") + 4) == getuid());
}
static volatile int tid;
static void *thread(void *arg) { (void)arg; tid = syscall(SYS_gettid); pause(); return 0; }

int main(int argc, char **argv) {
  char text[8192], path[100], byte;
  int ends[2], n, all;
  pid_t one, two, gone;
  struct stat s;
  struct statfs f;
  pthread_t t;
  setvbuf(stdout, 0, _IOLBF, 0);
  if (argc > 2 && !strcmp(argv[1], "sleeper")) { write(atoi(argv[3]), "x", 1); for (;;) pause(); }
  pipe(ends);
  if (!(one = fork())) {
    prctl(PR_SET_NAME, "a name (kid)");
    write(ends[1], "x", 1);
    for (;;) pause();
  }
  if (!(two = fork())) {
    snprintf(path, sizeof path, "%d", ends[1]);
    execl("/proc/self/exe", "/somewhere/procs", "sleeper", "two words", path, (char *)0);
    _exit(1);
  }
  if (!(gone = fork())) _exit(0);
  read(ends[0], &byte, 1), read(ends[0], &byte, 1);
  usleep(200000);
  printf("self %d, thread-self %d, stat %d, nothing %d\n", listed("/proc", "self", &all), listed("/proc", "thread-self", &all),
         listed("/proc", "stat", &all), listed("/proc", "nothing", &all));
  if (argc > 2) printf("processes %d\n", (listed("/proc", "self", &all), all));
  show("own", getpid(), getppid());
  show("one", one, getpid());
  sprintf(path, "/proc/%d/comm", two);
  slurp(AT_FDCWD, path, text, sizeof text);
  printf("the name is %s", !strcmp(text, "exe\n") ? "procs\n" : text);
  show("gone", gone, getpid());
  waitpid(gone, 0, 0);
  show("gone", gone, getpid());
  /* what is called otherwise */
  int proc = open("/proc", O_RDONLY | O_DIRECTORY);
  snprintf(path, sizeof path, "%d/comm", one);
  printf("from the directory %d %s", slurp(proc, path, text, sizeof text), text);
  printf("with dots %d\n", slurp(AT_FDCWD, "/proc/self/../self/./comm", text, sizeof text));
  printf("self %d\n", (n = readlink("/proc/self", text, sizeof text), text[n] = 0, atoi(text) == getpid()));
  printf("kinds %d %d %d\n", !lstat("/proc/self", &s) && S_ISLNK(s.st_mode), !stat("/proc/self", &s) && S_ISDIR(s.st_mode),
         !lstat("/proc/self/", &s) && S_ISDIR(s.st_mode));
  printf("file %d %d\n", !fstatat(proc, "self/stat", &s, 0) && S_ISREG(s.st_mode), s.st_size == 0);
  printf("as a directory %d\n", open("/proc/self/stat", O_DIRECTORY) < 0 && errno == ENOTDIR);
  printf("directory %d\n", open("/proc/self", O_RDWR) < 0 && errno == EISDIR);
  printf("kind of file system %d\n", !statfs("/proc", &f) && f.f_type == 0x9fa0);
  printf("access %d %d\n", access("/proc/self/stat", R_OK), access("/proc/3999999", F_OK));
  n = fstat(proc, &s);
  printf("open directory %d %o\n", n, s.st_mode);
  /* descriptors */
  DIR *d = opendir("/proc/self/fd");
  struct dirent *e;
  int seen = 0;
  while ((e = readdir(d))) if (e->d_name[0] != '.') seen |= 1 << atoi(e->d_name);
  printf("descriptors %x, of them this %d\n", seen & ~(1 << dirfd(d)), seen >> dirfd(d) & 1);
  snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
  printf("link %d %d\n", !lstat(path, &s) && S_ISLNK(s.st_mode), !stat(path, &s) && S_ISFIFO(s.st_mode));
  n = readlink(path, text, sizeof text);
  printf("pipe %d\n", n > 6 && !strncmp(text, "pipe:[", 6));
  printf("closed %d\n", lstat("/proc/self/fd/77", &s) && errno == ENOENT);
  closedir(d);
  sigset_t none;
  sigemptyset(&none);
  int other = signalfd(-1, &none, 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", other);
  n = readlink(path, text, sizeof text);
  printf("no file %.*s %d\n", n, text, open(path, O_RDONLY) < 0 && errno == ENXIO);
  close(other);
  snprintf(path, sizeof path, "/proc/self/fd/%d/self/comm", proc);
  printf("through a descriptor %d\n", slurp(AT_FDCWD, path, text, sizeof text));
  /* the current directory */
  printf("cd %d", chdir("/proc/self"));
  printf(" %d", slurp(AT_FDCWD, "comm", text, sizeof text));
  printf(" %d\n", (chdir(".."), slurp(AT_FDCWD, "self/comm", text, sizeof text)));
  printf("root %d\n", (chdir("/"), stat("/proc/self/root/proc/self/cwd/proc", &s)));
  /* signals */
  sigset_t set;
  sigemptyset(&set), sigaddset(&set, SIGHUP), sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, 0);
  signal(SIGQUIT, SIG_IGN);
  kill(getpid(), SIGHUP);
  slurp(AT_FDCWD, "/proc/thread-self/status", text, sizeof text);
  field(text, "ShdPnd:"), field(text, "SigBlk:"), field(text, "SigIgn:");
  printf("\n");
  /* threads */
  prctl(PR_SET_NAME, "first");
  pthread_create(&t, 0, thread, 0);
  while (!tid) usleep(1000);
  usleep(50000);
  snprintf(path, sizeof path, "%d", tid);
  n = listed("/proc/self/task", path, &all);
  printf("thread %d of %d", n, all);
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
  slurp(AT_FDCWD, path, text, sizeof text);
  printf(" pid %d state %c\n", atoi(text) == tid, *(strrchr(text, ')') + 2));
  snprintf(path, sizeof path, "/proc/%d/task/%d", getpid(), one);
  printf("another's %d\n", stat(path, &s));
  slurp(AT_FDCWD, "/proc/self/status", text, sizeof text);
  field(text, "Name:"), field(text, "Threads:");
  printf("\n");
  kill(one, SIGKILL), kill(two, SIGKILL);
  waitpid(one, 0, 0), waitpid(two, 0, 0);
  show("one", one, getpid());
  return 0;
}

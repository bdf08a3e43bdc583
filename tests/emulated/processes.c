#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <signal.h>
#include <sys/wait.h>
#include <string.h>
#include <errno.h>
static volatile int got; static void h(int s) { got = s; }
static void info(int s, siginfo_t *i, void *u) { (void)u; printf("segv %d %p\n", s, i->si_addr); fflush(stdout); _exit(9); }
int main(int argc, char **argv) {
  if (argc > 1) { printf("child says %s\n", argv[1]); return 3; }
  int p[2]; pipe(p);
  pid_t k = fork();
  if (!k) { close(p[0]); write(p[1], "from child", 10); _exit(7); }
  close(p[1]); char b[32] = ""; int n = read(p[0], b, 32); int st; waitpid(k, &st, 0);
  printf("%d %s %d\n", n, b, WEXITSTATUS(st)); fflush(stdout);
  k = fork(); if (!k) { execl(argv[0], argv[0], "hi", (char*)0); _exit(99); }
  waitpid(k, &st, 0); printf("exec %d\n", WEXITSTATUS(st));
  signal(SIGUSR1, h); raise(SIGUSR1); printf("got %d\n", got);
  struct sigaction sa = {0}; sa.sa_handler = h; sigaction(SIGALRM, &sa, 0); alarm(1); errno = 0; int r = pause(); printf("pause %d %d got %d\n", r, errno == EINTR, got);
  k = fork(); if (!k) { pause(); _exit(1); } kill(k, SIGTERM); waitpid(k, &st, 0); printf("term %d\n", WTERMSIG(st));
  FILE *f = popen("echo", "r"); printf("popen %d\n", f != 0); fflush(stdout); if (f) pclose(f);
  sa.sa_sigaction = info; sa.sa_flags = SA_SIGINFO; sigaction(SIGSEGV, &sa, 0);
  fflush(stdout); k = fork(); if (!k) { *(volatile int *)16 = 1; } waitpid(k, &st, 0); printf("segv %d\n", WEXITSTATUS(st)); fflush(stdout);
  signal(SIGSEGV, SIG_DFL); *(volatile int *)16 = 1;
}

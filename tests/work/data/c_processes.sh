# C: fork, vfork, posix_spawn, exec, clone, system, popen, waitid, daemons; threads when forking; prctl
# needs: gcc
# with:
# with: --lazy
cat >t.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ; static int shared; double (*late)(double);
static int child(void *p) { shared = 42; return *(int *)p; }
static void *spin(void *p) { for (int i = 0; i < 3000; i++) { char *s = strdup("spin"); usleep(10); free(s); } return p; }
static void say(const char *what, int w) { if (WIFEXITED(w)) printf("%s exit %d\n", what, WEXITSTATUS(w)); else printf("%s signal %d\n", what, WTERMSIG(w)); fflush(stdout); }
int main(int argc, char **argv) {
    int w, n = 9; pid_t p; if (argc > 1) { printf("exec'ed %s %s\n", argv[1], getenv("GIVEN") ? getenv("GIVEN") : "-"); return 11; }
    if (!(p = fork())) exit(3); waitpid(p, &w, 0); say("fork", w);
    if (!(p = vfork())) { execl("/bin/sh", "sh", "-c", "exit 4", (char *)0); _exit(1); } waitpid(p, &w, 0); say("vfork", w);
    char *av[] = { "sh", "-c", "echo spawned; exit 5", 0 }; posix_spawn_file_actions_t fa; posix_spawn_file_actions_init(&fa); posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", 0, 0); posix_spawnp(&p, "sh", &fa, 0, av, environ); waitpid(p, &w, 0); say("spawn", w);
    printf("spawn of nothing: %s\n", strerror(posix_spawnp(&p, "nosuchprogram", 0, 0, av, environ)));
    say("system", system("exit 6")); FILE *f = popen("cat; exit 7", "w"); fputs("popen\n", f); say("pclose", pclose(f)); fflush(stdout);
    char *stack = malloc(65536); p = clone(child, stack + 65536, CLONE_VM | SIGCHLD, &n); waitpid(p, &w, 0); say("clone", w); printf("%d\n", shared);
    pthread_t t[4]; for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, spin, 0);
    for (int i = 0; i < 20; i++) { if (!(p = fork())) { void *h = dlopen("libm.so.6", RTLD_LAZY); late = (double (*)(double))dlsym(h, "sqrt"); _exit(late && late(49) == 7 ? 0 : 1); } waitpid(p, &w, 0); if (w) say("forked with threads", w); }
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0); puts("threads joined");
    if (!(p = fork())) { if (!fork()) { usleep(50000); puts("grandchild"); fflush(stdout); _exit(0); } _exit(0); } waitpid(p, &w, 0); prctl(PR_SET_CHILD_SUBREAPER, 1); usleep(150000);
    siginfo_t si; if (!(p = fork())) raise(SIGKILL); waitid(P_PID, p, &si, WEXITED); printf("waitid %d %d\n", si.si_code == CLD_KILLED, si.si_status);
    if (!(p = fork())) { setenv("GIVEN", "value", 1); execl("/proc/self/exe", "self", "by fork", (char *)0); perror("exec"); _exit(99); } waitpid(p, &w, 0); say("self", w);
    if (!(p = fork())) { execl("./nothing", "x", (char *)0); _exit(errno == ENOENT ? 12 : 13); } waitpid(p, &w, 0); say("none", w);
    char b[200]; ssize_t k = readlink("/proc/self/exe", b, 199); b[k > 0 ? k : 0] = 0; puts(strrchr(b, '/')); printf("%s %s %d\n", program_invocation_short_name, argv[0], getppid() > 0);
    fflush(stdout); execl(argv[0], argv[0], "again", (char *)0); return 1;
}
END
gcc -O1 t.c -o t -pthread
#== run
$RUN ./t; echo "status $?"; $RUN ./t x; echo "status $?"; cd /; $RUN $OLDPWD/t y

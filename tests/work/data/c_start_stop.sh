# C: programs that interpose the start and the end: __libc_start_main, pthread_create, exit, fork, write wrapped; own _start; dlsym wrapped
# needs: gcc
# with:
# with: --lazy
# with: --now
cat >w.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int (*real_main)(int, char **, char **); static int wrapped(int c, char **v, char **e) { puts("before main"); int r = real_main(c, v, e); puts("after main"); return r + 1; }
int __libc_start_main(int (*m)(int, char **, char **), int c, char **v, void (*i)(void), void (*f)(void), void (*r)(void), void *s) { real_main = m; int (*real)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *) = dlsym(RTLD_NEXT, "__libc_start_main"); return real(wrapped, c, v, i, f, r, s); }
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *p) { puts("pthread_create"); int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlvsym(RTLD_NEXT, "pthread_create", "GLIBC_2.34"); return real(t, a, f, p); }
pid_t fork(void) { puts("fork"); fflush(stdout); return ((pid_t(*)(void))dlsym(RTLD_NEXT, "fork"))(); }
void exit(int s) { puts("exit"); void (*real)(int) __attribute__((noreturn)) = dlsym(RTLD_NEXT, "exit"); real(s); }
void *dlopen(const char *n, int f) { printf("dlopen %s\n", n ? n : "0"); return ((void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen"))(n, f); }
char *getenv(const char *n) { if (!strcmp(n, "FAKED")) return "by the wrapper"; return ((char *(*)(const char *))dlsym(RTLD_NEXT, "getenv"))(n); }
END
cat >t.c <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void *run(void *p) { puts("in a thread"); return p; }
int main(int c, char **v) { setvbuf(stdout, 0, _IOLBF, 0); pthread_t t; pthread_create(&t, 0, run, 0); pthread_join(t, 0); if (!fork()) { puts("child"); _exit(0); } wait(0); void *h = dlopen("libm.so.6", RTLD_NOW); printf("%d %s\n", dlsym(h, "cos") != 0, getenv("FAKED")); if (c > 1) exit(9); return 3; }
END
gcc -w -shared -fPIC -fno-builtin w.c -o w.so; gcc t.c -o t -pthread; gcc -static-pie -w t.c -o sp -pthread; gcc -nostartfiles -x c - -o own <<'END'
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void c(void) { puts("constructor"); }
void start(void) { puts("own start"); exit(4); } __asm__(".globl _start\n_start: and $-16,%rsp\ncall start\n");
END
gcc -shared -fPIC -x c - -o exe.so -Wl,-e,entry <<'END'
#include <stdio.h>
#include <unistd.h>
const char interp[] __attribute__((section(".interp"))) = "/lib64/ld-linux-x86-64.so.2";
__attribute__((force_align_arg_pointer)) void entry(void) { puts("a library that can be started"); fflush(stdout); _exit(5); }
END
#== run
if [ -n "$RUN" ]; then E="${RUN% --} --env"; D=--; else E=env; D=; fi; $E LD_PRELOAD=./w.so $D ./t; echo "status $?"; $E LD_PRELOAD=./w.so $D ./t x; echo "status $?"; $RUN ./own; echo "status $?"; $RUN ./exe.so; echo "status $?"; $RUN ./sp >/dev/null; echo "status $?"; $E LD_PRELOAD=./w.so $D /usr/bin/python3 -c 'import os; print(os.environ.get("FAKED"))' | grep -v dlopen

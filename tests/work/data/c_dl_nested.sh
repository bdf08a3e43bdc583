# C: dlopen in constructors, dlclose in destructors and exit handlers, from many threads at once, in signal handlers, around fork
# needs: gcc
# with:
# with: --lazy
# with: --interp
cat >a.c <<'END'
#include <dlfcn.h>
#include <stdio.h>
static void *h; extern int depth; int fa(void) { return 1; }
__attribute__((constructor)) static void in(void) { puts("a in"); h = dlopen("./b.so", RTLD_NOW); puts("a ready"); } __attribute__((destructor)) static void out(void) { puts("a out"); dlclose(h); puts("a gone"); }
END
printf '#include <stdio.h>\n__attribute__((constructor)) static void in(void) { puts("b in"); } __attribute__((destructor)) static void out(void) { puts("b out"); }\nint fb(void) { return 2; }\n' >b.c
printf '#include <dlfcn.h>\n#include <stdio.h>\n__attribute__((destructor)) static void out(void) { puts("c out"); void *h = dlopen("./b.so", RTLD_NOW); printf("%%d\\n", h != 0); }\n' >c.c
printf '#include <unistd.h>\nstatic volatile int ready; __attribute__((constructor)) static void in(void) { usleep(100000); ready = 1; }\nint is_ready(void) { return ready; } __thread int t = 5; int next(void) { return ++t; }\n' >slow.c
printf '#include <stdlib.h>\n__attribute__((constructor)) static void in(void) { exit(17); }\n' >leave.c
cat >t.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *h; static void at_exit(void) { puts("atexit"); dlclose(h); puts("closed"); void *b = dlopen("./b.so", RTLD_NOW); printf("opened %d\n", b != 0); }
static volatile int bad, stop; static void *slow(void *p) { void *s = dlopen("./slow.so", RTLD_NOW); int (*f)(void) = dlsym(s, "is_ready"), (*n)(void) = dlsym(s, "next"); if (!f()) bad++; if (n() != 6) bad++; return 0; }
static void *storm(void *p) { char name[20]; unsigned seed = (unsigned)(long)p; for (int i = 0; i < 60; i++) { sprintf(name, "./n%d.so", rand_r(&seed) % 8); void *s = dlopen(name, i & 1 ? RTLD_NOW : RTLD_LAZY); if (!s) { bad++; continue; } int (*f)(void) = dlsym(s, "next"); Dl_info d; if (!f || f() < 6 || !dladdr((void *)f, &d) || !strstr(d.dli_fname, name)) bad++; if (dlsym(s, "none") || !dlerror() || dlerror()) bad++; if (dlclose(s)) bad++; } return 0; }
static void on_alarm(int s) { void *m = dlopen("libm.so.6", RTLD_NOW); if (!m || !dlsym(m, "cos")) bad++; dlclose(m); }
static void *error(void *p) { dlopen("./nowhere.so", RTLD_NOW); usleep(20000); char *e = dlerror(); return (void *)(long)(e && strstr(e, "nowhere") != 0); }
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IOLBF, 0); h = dlopen("./a.so", RTLD_NOW); dlclose(h); puts("between"); h = dlopen("./a.so", RTLD_NOW); void *c = dlopen("./c.so", RTLD_NOW); dlclose(c); puts("c closed");
    pthread_t t[8]; for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, slow, 0); for (int i = 0; i < 4; i++) pthread_join(t[i], 0); printf("slow %d\n", bad);
    for (long i = 0; i < 6; i++) pthread_create(&t[i], 0, storm, (void *)i); for (int i = 0; i < 6; i++) pthread_join(t[i], 0); printf("storm %d\n", bad);
    void *r; pthread_create(t, 0, error, 0); usleep(10000); char *e = dlerror(); pthread_join(*t, &r); printf("error %d %d\n", e == 0, (int)(long)r);
    signal(SIGALRM, on_alarm); raise(SIGALRM); printf("signal %d\n", bad);
    for (int i = 0; i < 10; i++) { pid_t p = fork(); if (!p) { storm((void *)9); _exit(bad); } int w; waitpid(p, &w, 0); if (w) bad++; } printf("fork %d\n", bad);
    fflush(stdout); if (!fork()) { dlopen("./leave.so", RTLD_NOW); _exit(1); } int w; wait(&w); printf("leave %d\n", WEXITSTATUS(w)); if (!fork()) { void *b = dlopen("./b.so", RTLD_NOW); printf("%d\n", ((int (*)(void))dlsym(b, "fb"))()); exit(4); } wait(&w); printf("child %d\n", WEXITSTATUS(w)); atexit(at_exit); return 0;
}
END
for f in a b c leave slow; do gcc -shared -fPIC $f.c -o $f.so; done; echo '__thread int t = 5; int next(void) { return ++t; }' >n.c; gcc -shared -fPIC n.c -o n.so; for i in 0 1 2 3 4 5 6 7; do cp n.so n$i.so; done; gcc t.c -o t -pthread
printf '#include <dlfcn.h>\n#include <stdio.h>\nint main(int c, char **v) { for (int i = 1; i < c; i++) printf("%%d\\n", dlopen(v[i], RTLD_NOW) != 0); return 3; }\n' >u.c; gcc u.c -o u
#== run
$RUN ./t; echo "status $?"; $RUN ./u ./a.so; echo "status $?"; $RUN ./u ./c.so ./n1.so ./a.so; echo "status $?"

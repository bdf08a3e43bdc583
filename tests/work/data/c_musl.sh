# C with musl: threads, TLS, dlopen, exit; a static program; a static-pie program
# needs: musl-gcc gcc
# with:
# with: --lazy
cat >t.c <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pwd.h>
__thread int x = 5; static void *run(void *p) { x += 2; return (void *)(long)x; } static void bye(void) { puts("bye"); }
int main(int c, char **v) { pthread_t t; void *r; atexit(bye); pthread_create(&t, 0, run, 0); pthread_join(t, &r); printf("%ld %d %s\n", (long)r, x, getpwuid(0)->pw_name);
#ifdef DYN
    void *h = dlopen("./libp.so", RTLD_NOW); if (!h) { puts(dlerror()); return 1; } printf("%d\n", ((int (*)(void))dlsym(h, "plug"))()); puts(dlsym(h, "nosuch") ? "?" : dlerror()); dlclose(h); puts(dlopen("./nosuch.so", RTLD_NOW) ? "?" : dlerror()); Dl_info i; printf("%d\n", dladdr((void *)main, &i));
#endif
    return 6; }
END
echo '__thread int t = 9; int plug(void) { return t++; }' >p.c; musl-gcc -shared -fPIC p.c -o libp.so; musl-gcc -DDYN -rdynamic t.c -o dyn; musl-gcc -static t.c -o static; gcc -w -static t.c -o gstatic; gcc -w -static-pie t.c -o spie; echo 'int main(void) { return 3; }' >n.c
#== run
$RUN ./dyn; echo "status $?"; $RUN ./static; echo "status $?"; $RUN ./gstatic; echo "status $?"; $RUN ./spie; echo "status $?"

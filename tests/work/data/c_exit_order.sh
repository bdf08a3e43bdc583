# C: constructors, destructors, atexit, on_exit, __cxa_atexit, exit from threads and constructors, stdio flushing, quick_exit
# needs: gcc
# with:
# with: --lazy
cat >t.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
void lib_touch(void); static int mode;
static void pre(int c, char **v, char **e) { write(1, "preinit\n", 8); } __attribute__((section(".preinit_array"), used)) static void (*pp)(int, char **, char **) = pre;
__attribute__((constructor(101))) static void c1(int c, char **v, char **e) { printf("ctor 101 argc %d %s env %d\n", c, strrchr(v[0], '/'), e && *e); } __attribute__((constructor)) static void c2(void) { puts("ctor"); }
__attribute__((destructor(101))) static void d1(void) { puts("dtor 101"); } __attribute__((destructor)) static void d2(void) { puts("dtor"); }
void _init_hook(void); static void a1(void) { puts("atexit 1"); } static void nested(void) { puts("nested"); } static void a2(void) { puts("atexit 2"); atexit(nested); } static void oe(int s, void *p) { printf("on_exit %d %s\n", s, (char *)p); } static void qe(void) { puts("quick"); fflush(stdout); }
static void *leave(void *p) { exit(21); }
int main(int argc, char **argv) {
    mode = argc > 1 ? atoi(argv[1]) : 0; atexit(a1); atexit(a2); on_exit(oe, "arg"); at_quick_exit(qe); lib_touch(); setvbuf(stdout, 0, _IOFBF, 8192); void *h = dlopen("./libd.so", RTLD_NOW); if (!h) puts(dlerror()); printf("no newline");
    switch (mode) { case 1: exit(7); case 2: _exit(8); case 3: quick_exit(9); case 4: { pthread_t t; pthread_create(&t, 0, leave, 0); pause(); } case 5: pthread_exit(0); case 6: dlclose(h); return 10; case 7: abort(); case 8: fclose(stdout); return 0; } return 3;
}
END
printf '#include <stdio.h>\n#include <stdlib.h>\nstatic void x(void) { puts("lib atexit"); }\n__attribute__((constructor)) static void in(int c, char **v) { printf("lib in %%d\\n", c); atexit(x); if (getenv("LEAVE")) exit(33); }\n__attribute__((destructor)) static void out(void) { puts("lib out"); }\nvoid lib_touch(void) { puts("touched"); }\nvoid other(void);\n' >l.c; sed 's/lib_touch/x_touch/; s/lib /libd /g; s/getenv("LEAVE")/0/' l.c >d.c
sed 's/lib_touch/y_touch/; s/lib /lib2 /g; s/getenv("LEAVE")/0/' l.c >l2.c; gcc -shared -fPIC l2.c -o lib2.so; gcc -shared -fPIC -Wl,--no-as-needed l.c -L. -l:lib2.so -Wl,-rpath,'$ORIGIN' -o libl.so; gcc -shared -fPIC d.c -o libd.so; gcc t.c -o t -L. -ll -Wl,-rpath,'$ORIGIN' -Wl,-init,_init -pthread
#== run
for i in 0 1 2 3 4 5 6 7 8; do echo "mode $i"; $RUN ./t $i; echo " status $?"; done; LEAVE=1 $RUN ./t; echo " status $?"; $RUN ./t >/dev/full; echo "status $?"; $RUN ./t | true

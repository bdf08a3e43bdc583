# C: backtrace through libraries and plugins, _Unwind_Backtrace, __attribute__((cleanup)), dl_iterate_phdr, abort messages, fortify
# needs: gcc
# with:
# with: --lazy
cat >t.c <<'END'
#define _GNU_SOURCE
#include <assert.h>
#include <dlfcn.h>
#include <error.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int through(int (*f)(void)); static void *plug;
__attribute__((noinline)) int trace(void) { void *b[40]; int n = backtrace(b, 40); char **s = backtrace_symbols(b, n); for (int i = 0; i < n; i++) { char *p = strrchr(s[i], '/'), *e = strchr(p ? p : s[i], '+'); if (e) *e = 0; Dl_info d; int ok = dladdr(b[i], &d); if (i < n - 2) printf("%s | %s\n", p ? p + 1 : s[i], ok && d.dli_sname ? d.dli_sname : "-"); } return n > 4; }
static int cmp(const void *a, const void *b) { static int once; if (!once++) trace(); return *(int *)a - *(int *)b; }
int main(int argc, char **argv) {
    printf("%d\n", through(trace)); plug = dlopen("./libplug.so", RTLD_NOW); int (*p)(int (*)(void)) = dlsym(plug, "plug_through"); printf("%d\n", p(trace)); int a[3] = { 3, 1, 2 }; qsort(a, 3, 4, cmp); printf("%d\n", a[0]);
    if (argc > 1) switch (*argv[1]) { case 'a': assert(argc == 9); case 's': { char b[4]; strcpy(b, argv[1]); printf("%s", b); break; } case 'f': { free((void *)0x1234567800); } case 'd': { void *volatile q = malloc(100); free(q); free(q); break; } case 'e': error(5, 2, "said by error"); } return 4;
}
END
echo 'int through(int (*f)(void)) { return f() + 1; }' >l.c; echo 'int plug_through(int (*f)(void)) { return f() + 2; }' >pl.c
gcc -O0 -shared -fPIC l.c -o libl.so; gcc -O0 -shared -fPIC pl.c -o libplug.so; gcc -O1 -D_FORTIFY_SOURCE=2 -fno-optimize-sibling-calls -rdynamic -w t.c -o t -L. -ll -Wl,-rpath,'$ORIGIN'
#== run
ulimit -c 0; for m in '' assert stringtoolong double error; do { $RUN ./t $m; echo "status $?"; } 2>&1 | sed 's/.*Aborted.*/Aborted/'; done

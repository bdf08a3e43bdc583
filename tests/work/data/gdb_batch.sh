# gdb: breakpoints, backtraces, locals, watchpoints, threads, core files of a compiled program; python in gdb
# needs: gdb gcc
# mask: (process|Thread|LWP) [0-9a-fx]+( \(LWP [0-9]+\))?
# mask: 0x[0-9a-f]{6,}
# mask: expected=[0-9]+
# ignore: core*
# timeout: 120
cat >p.c <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
struct node { int value; struct node *next; };
static int total;
static int fact(int n) { return n <= 1 ? 1 : n * fact(n - 1); }
static void *run(void *p) { total += fact(*(int *)p); return 0; }
int main(int argc, char **argv) {
    struct node b = { 2, 0 }, a = { 1, &b };
    int n = 5; pthread_t t;
    pthread_create(&t, 0, run, &n); pthread_join(t, 0);
    printf("total %d %d %s\n", total, a.next->value, argc > 1 ? argv[1] : "-"); fflush(stdout);
    if (argc > 2) abort();
    return 3;
}
END
gcc -g -O0 p.c -o p -pthread
#== run
$RUN gdb -q -nx -batch -ex 'break fact if n == 1' -ex 'run arg' -ex bt -ex 'up 2' -ex 'info locals' -ex 'info args' -ex 'thread apply all bt 2' -ex 'print n*7' -ex 'delete' -ex 'watch total' -ex c -ex c -ex 'break p.c:13' -ex c -ex 'p a' -ex 'p *a.next' -ex 'ptype struct node' -ex 'p $_siginfo' -ex finish -ex 'info sharedlibrary' -ex 'call fact(6)' -ex 'set var n = 9' -ex 'p n' -ex c -ex 'info program' ./p 2>&1 | grep -v '^warning: Error disabling address\|^\[Thread .* exited\]'; echo "status ${PIPESTATUS[0]}"
$RUN gdb -q -nx -batch -ex 'run a b' -ex bt -ex kill ./p 2>&1 | grep -v '^warning: Error disabling address\|^\[Thread .* exited\]'
$RUN gdb -q -nx -batch -ex 'disassemble fact' -ex 'info line main' -ex 'list fact' -ex 'x/4i main' -ex 'info functions fact' -ex 'p sizeof(struct node)' -ex 'p/x 255' -ex 'p (char)65' -ex 'python print(gdb.lookup_type("struct node").fields()[1].name, sum(range(10)))' ./p; echo "status $?"

# C and C++ built with AddressSanitizer, ThreadSanitizer, UBSan, OpenMP, gprof, gcov, stack protector; checked malloc, memusage
# needs: gcc g++
# with:
# with: --lazy
# mask: ==\d+==
# mask: 0x[0-9a-f]+|\(BuildId: [0-9a-f]+\)|pid=\d+
# ignore: *.gcda
# ignore: *gmon.out
cat >a.c <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int shared; static void *run(void *p) { for (int i = 0; i < 1000; i++) shared++; return p; }
int main(int argc, char **argv) {
    void *h = dlopen("./libp.so", RTLD_NOW); if (!h) { puts(dlerror()); return 1; } int (*f)(int *, int) = dlsym(h, "plug"); int *a = malloc(10 * sizeof *a); for (int i = 0; i < 10; i++) a[i] = i; printf("%d\n", f(a, 10)); pthread_t t; pthread_create(&t, 0, run, 0); if (argc > 1 && *argv[1] == 'r') run(0); pthread_join(t, 0); char *s = strdup("text"); puts(s); if (argc > 1 && *argv[1] == 'o') printf("%d\n", f(a, 11) != 0); if (argc > 1 && *argv[1] == 'u') { free(a); printf("%d\n", a[argc] * 0); } if (argc > 1 && *argv[1] == 's') { int x = 0x7fffffff; x += argc; printf("%d\n", x); } free(a); free(s); if (argc > 1 && *argv[1] == 'l') { a = malloc(77); a = 0; } return 0;
}
END
echo 'int plug(int *a, int n) { int s = 0; for (int i = 0; i < n; i++) s += a[i]; return s; }' >p.c
cat >o.cc <<'END'
#include <cstdio>
#include <omp.h>
#include <stdexcept>
#include <vector>
int main() { std::vector<double> v(100000); double s = 0; omp_set_num_threads(4);
#pragma omp parallel for reduction(+ : s)
    for (int i = 0; i < 100000; i++) { v[i] = i * .5; s += v[i]; }
    int c = 0;
#pragma omp parallel
    { try { throw std::runtime_error("x"); } catch (std::exception &) {
#pragma omp atomic
        c++; } }
    printf("%.1f %d\n", s, c); }
END
for m in address thread undefined; do mkdir $m; gcc -g -O1 -fsanitize=$m -shared -fPIC p.c -o $m/libp.so; gcc -g -O1 -fsanitize=$m a.c -o $m/a -pthread; done; mkdir plain; gcc -shared -fPIC p.c -o plain/libp.so; gcc a.c -o plain/a -pthread; mkdir prof; cp plain/libp.so prof; gcc -pg a.c -o prof/a -pthread; mkdir cov; gcc --coverage -shared -fPIC p.c -o cov/libp.so; gcc --coverage a.c -o cov/a -pthread; g++ -fopenmp -O1 o.cc -o omp; gcc -fstack-protector-all -D_FORTIFY_SOURCE=2 -O2 -fcf-protection=full -Wl,-z,now,-z,relro,-z,separate-code a.c -o plain/hard -pthread
#== run
export ASAN_OPTIONS=detect_leaks=0:color=never TSAN_OPTIONS=color=never UBSAN_OPTIONS=color=never
cd address; $RUN ./a; echo "status $?"; for x in o u; do $RUN ./a $x 2>&1 | grep -a 'ERROR\|SUMMARY\|#0\|#1 ' | sed 's/ (.*//'; echo "status ${PIPESTATUS[0]}"; done; cd ../thread; $RUN setarch -R true; $RUN ./a 2>&1 | head -5; echo "status ${PIPESTATUS[0]}"; $RUN ./a race 2>&1 | grep -a 'WARNING\|SUMMARY' | sed 's/ (.*//'; cd ../undefined; $RUN ./a s; echo "status $?"
cd ../prof; $RUN ./a; echo "status $?"; ls gmon.out; cd ../cov; $RUN ./a; ls *.gcda 2>/dev/null | wc -l; cd ..; $RUN ./omp; cd plain; $RUN ./hard; echo "status $?"; if [ -n "$RUN" ]; then E="${RUN% --} --env"; else E="env"; fi; D=; [ -n "$RUN" ] && D=--; MALLOC_CHECK_=3 $E LD_PRELOAD=libc_malloc_debug.so.0 $D ./a; echo "status $?"; $E LD_PRELOAD=libmemusage.so $D ./a 2>&1 | grep -c 'Memory usage'; GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.rtld.optional_static_tls=4096 $RUN ./a; M=/usr/lib/heaptrack/libheaptrack_preload.so; [ -f $M ] && DUMP_HEAPTRACK_OUTPUT=/dev/null $E LD_PRELOAD=$M $D ./a 2>&1 | tail -3

# C: what a first call through the PLT must keep: all argument registers, vectors, x87, errno, variadic calls, small and foreign stacks
# needs: gcc
# with:
# with: --lazy
# with: --now
# with: --lazy --interp
cat >l.c <<'END'
#include <complex.h>
#include <errno.h>
#include <immintrin.h>
#include <stdarg.h>
struct big { long a[9]; }; struct two { double d; long l; };
int ints(int a, int b, int c, int d, int e, int f, int g, int h) { return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h; }
double doubles(double a, double b, double c, double d, double e, double f, double g, double h, double i) { return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i; }
double many(int n, ...) { va_list v; va_start(v, n); double s = 0; while (n--) s += va_arg(v, double) * va_arg(v, int); va_end(v); return s; }
long double ld(long double a, long double b) { return a * b; } double complex cx(double complex a) { return a * a; } struct big bigs(struct big b, int k) { b.a[8] += k; return b; } struct two twos(struct two t) { t.d *= 2; t.l *= 3; return t; } _Complex long double cl(_Complex long double a) { return a + 1; }
__attribute__((target("avx2"))) __m256d v4(__m256d a, __m256d b) { return _mm256_add_pd(a, b); }
__attribute__((target("avx512f"))) __m512d v8(__m512d a, __m512d b, __m512d c, __m512d d, __m512d e, __m512d f, __m512d g, __m512d h) { return _mm512_add_pd(_mm512_add_pd(_mm512_add_pd(a, b), _mm512_add_pd(c, d)), _mm512_add_pd(_mm512_add_pd(e, f), _mm512_mul_pd(g, h))); }
int keeps_errno(void) { return errno; } __int128 wide(__int128 a) { return a * 3; } int (*pointer(void))(int, int, int, int, int, int, int, int) { return ints; } int small(void) { return 8; } int other(int x) { return x + 1; } int third(int x) { return x + 2; } int fourth(int x) { return x + 3; } void *thread_call(void *p) { return p; } double in_signal(double x) { return x * 2; }
__asm__(".globl regs\n.type regs,@function\nregs: mov %r10,%rax\nadd %r11,%rax\nret\n");
END
cat >t.c <<'END'
#define _GNU_SOURCE
#include <complex.h>
#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
struct big { long a[9]; }; struct two { double d; long l; }; int ints(int, int, int, int, int, int, int, int), keeps_errno(void), small(void), other(int), third(int), fourth(int); double doubles(double, double, double, double, double, double, double, double, double), many(int, ...), in_signal(double); long double ld(long double, long double); double complex cx(double complex); struct big bigs(struct big, int); struct two twos(struct two); _Complex long double cl(_Complex long double); __m256d v4(__m256d, __m256d); __m512d v8(__m512d, __m512d, __m512d, __m512d, __m512d, __m512d, __m512d, __m512d); __int128 wide(__int128); int (*pointer(void))(int, int, int, int, int, int, int, int); void *thread_call(void *);
__attribute__((target("avx2"))) static void avx(void) { __m256d a = _mm256_set_pd(1, 2, 3, 4), r = v4(a, _mm256_set1_pd(.5)); double d[4]; _mm256_storeu_pd(d, r); printf("%g %g %g %g\n", d[0], d[1], d[2], d[3]); }
__attribute__((target("avx512f"))) static void avx512(void) { __m512d a = _mm512_set_pd(1, 2, 3, 4, 5, 6, 7, 8), r = v8(a, a, a, a, a, a, a, a); double d[8]; _mm512_storeu_pd(d, r); for (int i = 0; i < 8; i++) printf("%g ", d[i]); puts(""); }
static void handler(int s) { printf("%g\n", in_signal(21)); } static ucontext_t a, b; static void co(void) { printf("%d\n", third(40)); swapcontext(&b, &a); } static void *run(void *p) { return thread_call(p); }
int main(void) {
    printf("%d\n", ints(1, 2, 3, 4, 5, 6, 7, 8)); printf("%g\n", doubles(1, 2, 3, 4, 5, 6, 7, 8, 9)); printf("%g\n", many(10, 1., 1, 2., 2, 3., 3, 4., 4, 5., 5, 6., 6, 7., 7, 8., 8, 9., 9, 10., 10)); printf("%Lg\n", ld(1.5L, 3)); printf("%g\n", creal(cx(2 + I))); struct big g = { { 1, 2, 3, 4, 5, 6, 7, 8, 9 } }; printf("%ld\n", bigs(g, 100).a[8]); struct two t = twos((struct two) { 1.5, 7 }); printf("%g %ld\n", t.d, t.l); printf("%Lg\n", __real__ cl(4)); 
    if (__builtin_cpu_supports("avx2")) avx(); if (__builtin_cpu_supports("avx512f")) avx512(); errno = 77; int e = keeps_errno(); printf("%d %d\n", e, errno); printf("%ld\n", (long)wide(14)); printf("%d %d\n", pointer() == ints, pointer()(1, 1, 1, 1, 1, 1, 1, 1));
    stack_t st = { malloc(8192), 0, 8192 }; signal(SIGUSR1, handler); raise(SIGUSR1); getcontext(&b); b.uc_stack.ss_sp = mmap(0, 32768, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); b.uc_stack.ss_size = 32768; makecontext(&b, co, 0); swapcontext(&a, &b); pthread_attr_t at; pthread_attr_init(&at); pthread_attr_setstacksize(&at, 16384); pthread_t th; void *r; pthread_create(&th, &at, run, "small stack"); pthread_join(th, &r); puts(r);
    long x; __asm__ volatile("mov $5,%%r10\nmov $37,%%r11\nmov %%rsp,%%rbx\nand $-16,%%rsp\ncall small@PLT\nmov %%rbx,%%rsp" : "=a"(x) : : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc"); printf("%ld\n", x & 255);
    unsigned mx = _mm_getcsr(); _mm_setcsr(mx | 0x6000); int o = other(1); printf("%d %d\n", o, (_mm_getcsr() & 0x6000) == 0x6000); _mm_setcsr(mx); sigset_t s, q; sigfillset(&s); sigprocmask(SIG_BLOCK, &s, &q); printf("%d\n", fourth(4)); sigprocmask(SIG_SETMASK, &q, 0); return 0;
}
END
gcc -w -O1 -shared -fPIC l.c -o libl.so; gcc -w -O1 -fno-builtin t.c -o t -L. -ll -lm -Wl,-rpath,'$ORIGIN' -Wl,-z,lazy -pthread
#== run
$RUN ./t; echo "status $?"; $RUN ./t >/dev/null; echo "status $?"

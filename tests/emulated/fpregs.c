/* Floating-point and vector registers in a handler's ucontext: what it sees there, and changes. */
#define _GNU_SOURCE
#include <fenv.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* trip: registers 3 and the last one, loaded; a signal; the same registers, stored. View: where they are in the ucontext. */
struct view { char *third, *last; uint32_t *control; };
#if defined __aarch64__
#include <asm/sigcontext.h>
#define WIDE 16
#define ROUND(x) ((x) >> 22 & 3)
#define NEAREST(x) ((x) & ~(3u << 22))
static struct view look(ucontext_t *u) {
  struct fpsimd_context *f = (void *)u->uc_mcontext.__reserved;
  while (f->head.magic != FPSIMD_MAGIC && f->head.magic) f = (void *)((char *)f + f->head.size);
  printf("record %d %x size %u", (int)((char *)f - (char *)u->uc_mcontext.__reserved), f->head.magic, f->head.size);
  struct _aarch64_ctx *next = (void *)((char *)f + f->head.size);
  printf(" next %x %u, fpsr %x\n", next->magic, next->size, f->fpsr & 0x9f);
  return (struct view){(char *)&f->vregs[3], (char *)&f->vregs[31], &f->fpcr};
}
static void spoil(ucontext_t *u) { ((struct fpsimd_context *)u->uc_mcontext.__reserved)->head.magic = 1; }
static void trip(const char *in, char *out) {
  register long a asm("x0") = getpid(), b asm("x1") = SIGUSR1, n asm("x8") = 129;
  asm volatile("ldr q3, [%1]\nldr q31, [%1, 16]\nsvc 0\nstr q3, [%2]\nstr q31, [%2, 16]"
               : "+r"(a) : "r"(in), "r"(out), "r"(b), "r"(n) : "v3", "v31", "memory");
}
#elif defined __arm__
#define WIDE 8
#define ROUND(x) ((x) >> 22 & 3)
#define NEAREST(x) ((x) & ~(3u << 22))
static struct view look(ucontext_t *u) {
  uint32_t *f = (uint32_t *)u->uc_regspace;
  printf("record %x size %u, fpexc %x\n", f[0], f[1], f[68] & 0x40000000);
  return (struct view){(char *)(f + 2 + 6), (char *)(f + 2 + 62), f + 66};
}
static void spoil(ucontext_t *u) { ((uint32_t *)u->uc_regspace)[1] = 1; }
static void trip(const char *in, char *out) {
  register long a asm("r0") = getpid(), b asm("r1") = SIGUSR1, n asm("r7") = 37;
  asm volatile(".fpu neon\nvldr d3, [%1]\nvldr d31, [%1, 8]\nsvc 0\nvstr d3, [%2]\nvstr d31, [%2, 8]"
               : "+r"(a) : "r"(in), "r"(out), "r"(b), "r"(n) : "d3", "memory");
}
#elif defined __riscv
#define WIDE 8
#define ROUND(x) ((x) >> 5 & 7)
#define NEAREST(x) ((x) & ~(7u << 5))
static struct view look(ucontext_t *u) {
  struct __riscv_mc_d_ext_state *f = &u->uc_mcontext.__fpregs.__d;
  return (struct view){(char *)(f->__f + 3), (char *)(f->__f + 31), (uint32_t *)&f->__fcsr};
}
static void trip(const char *in, char *out) {
  register long a asm("a0") = getpid(), b asm("a1") = SIGUSR1, n asm("a7") = 129;
  asm volatile("fld f3, 0(%1)\nfld f31, 8(%1)\necall\nfsd f3, 0(%2)\nfsd f31, 8(%2)"
               : "+r"(a) : "r"(in), "r"(out), "r"(b), "r"(n) : "f3", "f31", "memory");
}
#elif defined __s390x__
#define WIDE 8
#define ROUND(x) ((x) & 7)
#define NEAREST(x) ((x) & ~7u)
static struct view look(ucontext_t *u) {
  printf("flags %lx, more of the third %llx\n", u->uc_flags, *(unsigned long long *)((char *)u + 512 + 3 * 8));
  return (struct view){(char *)&u->uc_mcontext.fpregs.fprs[3], (char *)&u->uc_mcontext.fpregs.fprs[15], &u->uc_mcontext.fpregs.fpc};
}
static void trip(const char *in, char *out) {
  register long a asm("r2") = getpid(), b asm("r3") = SIGUSR1, n asm("r1") = 37;
  asm volatile("ld %%f3, 0(%1)\nld %%f15, 8(%1)\nsvc 0\nstd %%f3, 0(%2)\nstd %%f15, 8(%2)"
               : "+r"(a) : "a"(in), "a"(out), "r"(b), "r"(n) : "f3", "f15", "memory");
}
#elif defined __x86_64__ || defined __i386__
#define WIDE 16
#define ROUND(x) ((x) >> 13 & 3)
#define NEAREST(x) ((x) & ~(3u << 13))
static double top;
static struct view look(ucontext_t *u) {
  static const unsigned char value[10] = {0, 0, 0, 0, 0, 0, 0, 0xa0, 0, 0x40};  /* 2.5 */
  char *image = (char *)u->uc_mcontext.fpregs, *fx = image, *st = image + 32;
#ifdef __i386__
  fx = image + 112, st = image + 28;
  printf("magic %x\n", *(unsigned short *)(image + 110));
#endif
  printf("control %x status %x tags %x mask %x top", *(unsigned short *)image, *(unsigned short *)(fx + 2) & 0xb8ff, fx[4] & 255, *(unsigned *)(fx + 28));
  for (int i = 0; i < 10; i++) printf(" %02x", st[i] & 255);
  printf("\n");
  *(unsigned short *)image &= ~0xc00;
  memcpy(st, value, 10);
  return (struct view){fx + 160 + 3 * 16, fx + 160 + 7 * 16, (uint32_t *)(fx + 24)};
}
static void spoil(ucontext_t *u) { *(uint32_t *)((char *)u->uc_mcontext.fpregs + 24 + (sizeof(long) == 4 ? 112 : 0)) = ~0u; }
static void trip(const char *in, char *out) {
  double value = 1.5;
#ifdef __x86_64__
  long a = 62;
  asm volatile("fldl %5\nmovups (%1), %%xmm3\nmovups 16(%1), %%xmm7\nsyscall\nmovups %%xmm3, (%2)\nmovups %%xmm7, 16(%2)\nfstpl %5"
               : "+a"(a) : "r"(in), "r"(out), "D"((long)getpid()), "S"((long)SIGUSR1), "m"(value) : "xmm3", "xmm7", "rcx", "r11", "memory");
#else
  long a = 37;
  asm volatile("fldl %5\nmovups (%1), %%xmm3\nmovups 16(%1), %%xmm7\nint $0x80\nmovups %%xmm3, (%2)\nmovups %%xmm7, 16(%2)\nfstpl %5"
               : "+a"(a) : "S"(in), "D"(out), "b"(getpid()), "c"(SIGUSR1), "m"(value) : "memory");
#endif
  top = value;
  printf("top %g\n", top);
}
#endif

static void bytes(const char *what, const char *data) {
  printf("%s", what);
  for (int i = 0; i < WIDE; i++) printf(" %02x", data[i] & 255);
  printf("\n");
}
static void on(int number, siginfo_t *info, void *context) {
  struct view v = look(context);
  (void)number; (void)info;
  bytes("third", v.third), bytes("last", v.last);
  printf("rounding %d\n", ROUND(*v.control));
  memcpy(v.third, "changed by handl", WIDE);
  memset(v.last, 0x42, WIDE);
  *v.control = NEAREST(*v.control);
}
static volatile double x = 1.25, y;
static void sums(int number, siginfo_t *info, void *context) { (void)info; (void)context; y = x * number; }
static void nested(int number, siginfo_t *info, void *context) {
  (void)number; (void)info; (void)context;
  char in[32] = "inside the handler, other values", out[32];
  trip(in, out);
  bytes("inner third", out);
}
static void action(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler, action.sa_flags = flags;
  sigaction(number, &action, 0);
}
#if defined __aarch64__ || defined __arm__ || defined __x86_64__ || defined __i386__
static void spoiler(int number, siginfo_t *info, void *context) { (void)number; (void)info; spoil(context); }
#endif

int main(void) {
  char in[32], out[32];
  setvbuf(stdout, 0, _IONBF, 0);
  for (int i = 0; i < 32; i++) in[i] = i * 7 + 1;
  action(SIGUSR1, on, SA_SIGINFO);
  fesetround(FE_UPWARD);
  trip(in, out);
  bytes("third", out), bytes("last", out + WIDE);
  printf("rounding %d\n", fegetround() == FE_TONEAREST);
  /* nothing is changed: all is as it was, whatever the handler computes */
  action(SIGUSR1, sums, SA_SIGINFO);
  fesetround(FE_DOWNWARD);
  trip(in, out);
  printf("kept %d %d %g\n", !memcmp(in, out, 2 * WIDE), fegetround() == FE_DOWNWARD, y / x == SIGUSR1 ? 1. : 0.);
  fesetround(FE_TONEAREST);
  /* without siginfo, which another frame may be for */
  action(SIGUSR1, sums, 0);
  trip(in, out);
  printf("kept %d\n", !memcmp(in, out, 2 * WIDE));
  /* a handler in a handler */
  action(SIGUSR1, on, SA_SIGINFO), action(SIGUSR2, nested, SA_SIGINFO);
  raise(SIGUSR2);
#if defined __aarch64__ || defined __arm__ || defined __x86_64__ || defined __i386__
  /* a record that is none */
  int status, child = fork();
  if (!child) {
    action(SIGUSR1, spoiler, SA_SIGINFO);
    trip(in, out);
    _exit(0);
  }
  waitpid(child, &status, 0);
  printf("spoilt %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
#endif
  return 0;
}

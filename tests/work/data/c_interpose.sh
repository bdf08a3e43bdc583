# C: interposers: RTLD_NEXT wrappers by LD_PRELOAD and --preload, malloc replaced, weak hooks, several at once
# needs: gcc
# with:
# with: --lazy
# with: --now
cat >w.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
static int opens, lens;
int open(const char *p, int f, ...) { static int (*real)(const char *, int, ...); if (!real) real = dlsym(RTLD_NEXT, "open"); opens++; va_list a; va_start(a, f); int m = va_arg(a, int); va_end(a); return real(p, f, m); }
time_t time(time_t *t) { if (t) *t = 1000000; return 1000000; }
int clock_gettime(clockid_t c, struct timespec *t) { int (*r)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime"); int x = r(c, t); if (c == CLOCK_REALTIME) t->tv_sec = 1000000, t->tv_nsec = 0; return x; }
int gettimeofday(struct timeval *t, void *z) { t->tv_sec = 1000000; t->tv_usec = 0; return 0; }
uid_t geteuid(void) { return 4242; } uid_t getuid(void) { return 4242; }
int puts(const char *s) { int (*r)(const char *) = dlsym(RTLD_NEXT, "puts"); r("[puts]"); return r(s); }
__attribute__((destructor)) static void out(void) { fprintf(stderr, "wrapper out, opens %s\n", opens ? "some" : "none"); }
END
gcc -shared -fPIC w.c -o w.so
cat >m.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char heap[256 << 20] __attribute__((aligned(64))); static size_t top; static long calls;
void *malloc(size_t n) { size_t at = __sync_fetch_and_add(&top, (n + 79) & ~(size_t)15); __sync_fetch_and_add(&calls, 1); if (at + n + 80 > sizeof heap) { errno = ENOMEM; return 0; } *(size_t *)(heap + at) = n; return heap + at + 16; }
void free(void *p) { } void *calloc(size_t a, size_t b) { return malloc(a * b); }
void *realloc(void *p, size_t n) { void *q = malloc(n); if (p && q) { size_t o = ((size_t *)p)[-2]; memcpy(q, p, o < n ? o : n); } return q; }
void *memalign(size_t a, size_t n) { size_t p = (size_t)malloc(n + a); p = (p + a + 15) & ~(a - 1); ((size_t *)p)[-2] = n; return (void *)p; } void *aligned_alloc(size_t a, size_t n) { return memalign(a, n); } int posix_memalign(void **p, size_t a, size_t n) { *p = memalign(a, n); return 0; }
size_t malloc_usable_size(void *p) { return p ? ((size_t *)p)[-2] : 0; }
__attribute__((destructor)) static void out(void) { char b[60]; int k = snprintf(b, 60, "own malloc %s\n", calls > 20 ? "was used" : "was not used"); write(2, b, k); }
END
gcc -O1 -shared -fPIC -fno-builtin m.c -o m.so
printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\nint main(void) { char *s = strdup("copied"); puts(s); char *l = 0; size_t n = 0; getline(&l, &n, stdin); for (int i = 0; i < 100; i++) free(malloc(i)); printf("%%d\\n", getuid()); return 0; }\n' >p.c; gcc -fno-builtin p.c -o p
#== run
LD_PRELOAD=./w.so $RUN ./p; LD_PRELOAD=$PWD/w.so $RUN date -u +%s; LD_PRELOAD=./w.so $RUN id -u; LD_PRELOAD="./m.so" $RUN ./p; LD_PRELOAD="./m.so ./w.so" $RUN ./p;
# A missing one is told by the ld.so of each program on the way, so it is set for the last only.
if [ -n "$RUN" ]; then ${RUN% --} --env LD_PRELOAD=./w.so:./nosuch.so -- ./p; else LD_PRELOAD=./w.so:./nosuch.so ./p; fi
LD_PRELOAD=./m.so $RUN sort <(seq 2000) | md5sum; LD_PRELOAD=./m.so $RUN /usr/bin/python3 -c 'import json, sqlite3; print(len(json.dumps(list(range(5000)))))'; LD_PRELOAD=./m.so $RUN bash -c 'x=$(echo sub); echo $x'; LD_PRELOAD=./w.so $RUN perl -e 'print time, " $>\n"'
if [ -n "$RUN" ]; then P="${RUN% --} --preload ./w.so --"; $P ./p; ${RUN% --} --preload ./m.so:./w.so --env EXTRA=1 -- ./p; else LD_PRELOAD=./w.so ./p; EXTRA=1 LD_PRELOAD=./m.so:./w.so ./p; fi

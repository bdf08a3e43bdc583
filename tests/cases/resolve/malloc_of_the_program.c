//: lib liba.so
//: main -la -rdynamic
//: stdout "counted"

// The C library's own allocations go to the program's malloc as well.
#ifdef LIB_A
#include <string.h>
char *copy(const char *s) { return strdup(s); }
#else
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
char *copy(const char *);
static char pool[1 << 20] __attribute__((aligned(16)));
static size_t used;
static int calls;
void *malloc(size_t n) {
    void *p = pool + used;
    used += (n + 15) & ~(size_t)15;
    ++calls;
    return p;
}
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) {
    char *q = malloc(n), *o = p;
    for (size_t i = 0; o && i < n; ++i) q[i] = o[i];
    return q;
}
int main(void) {
    int before = calls;
    char *s = copy("counted");
    if (calls > before && s >= pool && s < pool + sizeof pool) write(1, "counted\n", 8);
}
#endif

//: lib liba.so -Wl,-z,pack-relative-relocs
//: main -la -Wl,-z,pack-relative-relocs
//: arch x86_64 i386
//: stdout "100 4950"

// DT_RELR: bitmaps instead of entries.
#define ROW(n) &v[n], &v[n + 1], &v[n + 2], &v[n + 3], &v[n + 4], &v[n + 5], &v[n + 6], &v[n + 7], &v[n + 8], &v[n + 9],
#ifdef LIB_A
static int v[100];
static int *const table[100] = {ROW(0) ROW(10) ROW(20) ROW(30) ROW(40) ROW(50) ROW(60) ROW(70) ROW(80) ROW(90)};
static char gap[4096];
static int *const after_gap[3] = {v, v + 1, v + 2};
int sum(void) {
    int total = 0;
    for (int i = 0; i < 100; ++i) v[i] = i;
    for (int i = 0; i < 100; ++i) total += *table[i];
    return total + *after_gap[0] + gap[0];
}
#else
#include <stdio.h>
int sum(void);
static int v[100];
static int *const table[100] = {ROW(0) ROW(10) ROW(20) ROW(30) ROW(40) ROW(50) ROW(60) ROW(70) ROW(80) ROW(90)};
int main(void) {
    int good = 0;
    for (int i = 0; i < 100; ++i) good += table[i] == &v[i];
    printf("%d %d\n", good, sum());
}
#endif

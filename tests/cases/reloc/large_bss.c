//: lib liba.so
//: main -la
//: musl
//: stdout "0 1 0"

// Memory beyond the file: the tail of the last page is cleared, whole pages follow.
#ifdef LIB_A
static char data[16] = "x";
static char block[3 << 20];
long sum(void) {
    long total = 0;
    for (unsigned i = 0; i < sizeof block; ++i) total += block[i];
    block[sizeof block - 1] = 1;
    return total + data[1];
}
char last(void) { return block[sizeof block - 1]; }
#else
#include <stdio.h>
long sum(void);
char last(void);
static char own[1 << 20];
int main(void) {
    long s = sum();
    printf("%ld %d %d\n", s, last(), own[sizeof own / 2]);
}
#endif

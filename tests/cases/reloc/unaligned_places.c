//: lib liba.so
//: lib libb.so -la
//: main -lb -la
//: arch -s390x -mips64el
//: musl
//: stdout "5 6 7"

#ifdef LIB_A
int five = 5;
#elif defined LIB_B
extern int five;
static int six = 6, seven = 7;
struct __attribute__((packed)) {
    char odd;
    int *foreign;
    char odder;
    int *local;
    short odd_still;
    int *other;
} packed = {1, &five, 2, &six, 3, &seven};
int *get(int n) { return n == 0 ? packed.foreign : n == 1 ? packed.local : packed.other; }
#else
#include <stdio.h>
int *get(int);
int main(void) { printf("%d %d %d\n", *get(0), *get(1), *get(2)); }
#endif

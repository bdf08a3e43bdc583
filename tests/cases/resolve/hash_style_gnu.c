//: lib liba.so -Wl,--hash-style=gnu
//: main -la -Wl,--hash-style=gnu -rdynamic
//: arch -mips64el
//: musl
//: stdout 10 55

#define TEN(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9)
#ifdef LIB_A
#define DEFINE(n) int symbol_##n(void) { return n + 1; }
TEN(DEFINE)
int sum(int *values, int count) {
    int total = 0;
    while (count--) total += values[count];
    return total;
}
#else
#include <stdio.h>
#define DECLARE(n) int symbol_##n(void);
TEN(DECLARE)
int sum(int *values, int count);
int main(void) {
    int values[] = {
#define CALL(n) symbol_##n(),
        TEN(CALL)};
    printf("%d %d\n", (int)(sizeof values / sizeof *values), sum(values, 10));
}
#endif

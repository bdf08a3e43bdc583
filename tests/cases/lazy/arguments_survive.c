//: lib liba.so
//: main -la -Wl,-z,lazy
//: musl
//: stdout "1 2 3 4 5 6 7 8 | 1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 | 9 10"
//: stdout "sum 4.5 7"

// The first call of each goes through the resolver: integer, floating-point and stack arguments, and a struct result.
struct pair {
    double d;
    long n;
};
#ifdef LIB_A
#include <stdio.h>
void integers(int a, int b, int c, int d, int e, int f, int g, int h) {
    printf("%d %d %d %d %d %d %d %d | ", a, b, c, d, e, f, g, h);
}
void floats(double a, double b, float c, double d, double e, float f, double g, double h, int i, int j) {
    printf("%.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f | %d %d\n", a, b, c, d, e, f, g, h, i, j);
}
struct pair sum(struct pair a, struct pair b) { return (struct pair){a.d + b.d, a.n + b.n}; }
#else
#include <stdio.h>
void integers(int, int, int, int, int, int, int, int);
void floats(double, double, float, double, double, float, double, double, int, int);
struct pair sum(struct pair, struct pair);
int main(void) {
    integers(1, 2, 3, 4, 5, 6, 7, 8);
    floats(1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9, 10);
    struct pair p = sum((struct pair){1.5, 3}, (struct pair){3.0, 4});
    printf("sum %.1f %ld\n", p.d, p.n);
}
#endif

//: lib liba.so
//: main -no-pie -fno-pic -la
//: musl
//: stdout "7 7"

// Two names of one object: the linker moves both.
#ifdef LIB_A
int strong_name = 3;
extern int weak_name __attribute__((weak, alias("strong_name")));
void set(int n) { weak_name = n; }
int get(void) { return strong_name; }
#else
#include <stdio.h>
extern int strong_name;
void set(int);
int get(void);
int main(void) {
    set(7);
    printf("%d %d\n", strong_name, get());
}
#endif

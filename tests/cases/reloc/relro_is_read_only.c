//: lib liba.so -Wl,-z,relro,-z,now
//: main -la
//: signal 11
//: musl
//: stdout "before 1"

#ifdef LIB_A
static int one = 1;
static int *const table[] = {&one};
int *const *get(void) { return table; }
#else
#include <stdio.h>
int *const *get(void);
int main(void) {
    printf("before %d\n", **get());
    fflush(stdout);
    *(int **)get() = 0;
    puts("written");
}
#endif

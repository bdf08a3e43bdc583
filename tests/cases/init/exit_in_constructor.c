//: lib liba.so
//: main -la
//: musl
//: status 3
//: stdout "leaving"

#include <stdio.h>
#include <stdlib.h>
#ifdef LIB_A
__attribute__((constructor)) static void init(void) {
    puts("leaving");
    exit(3);
}
#else
int main(void) { puts("not reached"); }
#endif

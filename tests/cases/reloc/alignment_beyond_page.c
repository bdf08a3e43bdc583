//: lib liba.so -Wl,-z,max-page-size=0x200000
//: lib libb.so
//: main -la -lb
//: stdout "0 0"

// p_align of 2 MiB and of 64 KiB (an aligned object): the load address has to honour it.
#ifdef LIB_A
static int here __attribute__((aligned(65536))) = 1;
long a(void) { return (long)&here % 65536; }
#elif defined LIB_B
static int here __attribute__((aligned(65536))) = 2;
long b(void) { return (long)&here % 65536; }
#else
#include <stdio.h>
long a(void), b(void);
int main(void) { printf("%ld %ld\n", a(), b()); }
#endif

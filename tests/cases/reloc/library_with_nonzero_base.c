//: lib liba.so -Wl,-Ttext-segment=0x10000000
//: main -la
//: arch x86_64 aarch64 riscv64
//: musl
//: stdout "5 hello"

// The first PT_LOAD is not at p_vaddr 0: the load bias is not the map's address.
#ifdef LIB_A
static int five = 5;
static int *pointer = &five;
const char *text = "hello";
int get(void) { return *pointer; }
#else
#include <stdio.h>
int get(void);
extern const char *text;
int main(void) { printf("%d %s\n", get(), text); }
#endif

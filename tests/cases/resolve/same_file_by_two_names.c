//: lib libx.so
//: link liby.so libx.so
//: lib liba.so -l:libx.so
//: lib libb.so -l:liby.so
//: main -la -lb
//: lib liba.so -DMOVED -l:libx.so
//: musl
//: stdout 1

// Two DT_NEEDED names, one inode: loaded once.
#ifdef MAIN
#include <stdio.h>
int count(void);
int main(void) { printf("%d\n", count()); }
#elif defined LIB_X
static int loaded;
__attribute__((constructor)) static void init(void) { ++loaded; }
int count(void) { return loaded; }
#elif defined LIB_A && !defined MOVED
int count(void) { return -1; }
#else
int unused;
#endif

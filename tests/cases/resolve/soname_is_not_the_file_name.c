//: lib libreal.so.1.2 -Wl,-soname,libx.so.1
//: link libx.so libreal.so.1.2
//: link libx.so.1 libreal.so.1.2
//: lib liby.so libreal.so.1.2
//: main -lx -ly
//: musl
//: stdout 1

#ifdef MAIN
#include <stdio.h>
int count(void);
int main(void) { printf("%d\n", count()); }
#elif defined LIB_Y
int unused;
#else
static int loaded;
__attribute__((constructor)) static void init(void) { ++loaded; }
int count(void) { return loaded; }
#endif

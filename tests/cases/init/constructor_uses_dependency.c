//: lib libb.so
//: lib liba.so -lb
//: main -la
//: musl
//: stdout 43

#ifdef LIB_B
static int ready;
__attribute__((constructor)) static void init(void) { ready = 42; }
int value(void) { return ready; }
#elif defined LIB_A
int value(void);
int computed;
__attribute__((constructor)) static void init(void) { computed = value() + 1; }
#else
#include <stdio.h>
extern int computed;
int main(void) { printf("%d\n", computed); }
#endif

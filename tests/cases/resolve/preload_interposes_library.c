//: lib liba.so
//: lib libp.so
//: main -la
//: env LD_PRELOAD=$DIR/libp.so
//: musl
//: stdout preloaded

#ifdef LIB_A
const char *who(void) { return "library"; }
#elif defined LIB_P
const char *who(void) { return "preloaded"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

//: lib libp.so -DWHO="p"
//: lib libq.so -DWHO="q"
//: lib libr.so -DWHO="r"
//: main -lr
//: env LD_PRELOAD=$DIR/libq.so:$DIR/libp.so
//: musl
//: stdout q

#ifdef MAIN
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#else
#define TEXT(x) #x
#define STRING(x) TEXT(x)
const char *who(void) { return STRING(WHO); }
#endif

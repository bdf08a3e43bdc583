//: lib libc1.so -DWHO="deep"
//: lib liba.so -lc1
//: lib libb.so -DWHO="wide"
//: main -la -lb
//: musl
//: stdout wide

#ifdef LIB_A
int unused_a;
#elif defined MAIN
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#else
#define TEXT(x) #x
#define STRING(x) TEXT(x)
const char *who(void) { return STRING(WHO); }
#endif

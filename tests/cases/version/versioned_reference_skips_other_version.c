//: file va.map A1 { global: who; local: *; };
//: file vb.map B1 { global: who; local: *; };
//: lib liba.so -Wl,--version-script=va.map -DWHO="a"
//: lib libb.so -Wl,--version-script=vb.map -DWHO="b"
//: lib libx.so -lb
//: lib liby.so -la
//: main -lx -ly -la -lb
//: stdout "b a"

// One name, two versions in two libraries: each caller gets the one it was linked with.
#define TEXT(x) #x
#define STRING(x) TEXT(x)
const char *who(void);
#ifdef LIB_X
const char *x(void) { return who(); }
#elif defined LIB_Y
const char *y(void) { return who(); }
#elif defined MAIN
#include <stdio.h>
const char *x(void), *y(void);
int main(void) { printf("%s %s\n", x(), y()); }
#else
const char *who(void) { return STRING(WHO); }
#endif

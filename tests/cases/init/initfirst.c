//: lib libb.so -DNAME="b" -Wl,-z,initfirst
//: lib libc1.so -DNAME="c"
//: lib liba.so -DNAME="a" -lc1
//: main -lb -la -DNAME="main"
//: stdout "+b +c +a +main "

// DF_1_INITFIRST.
#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

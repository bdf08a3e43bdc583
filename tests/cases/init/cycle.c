//: lib libb.so -DNAME="b"
//: lib liba.so -DNAME="a" -lb
//: lib libb.so -DNAME="b" -la
//: lib libc1.so -DNAME="c" -lb
//: main -lc1 -DNAME="main"
//: stdout "+b +a +c +main "

// a and b need one another; what is entered first decides.
#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

//: lib libt.so -DNAME="t"
//: lib libc1.so -DNAME="c"
//: lib libb.so -DNAME="b" -lc1 -lt
//: lib liba.so -DNAME="a" -lb
//: lib libc1.so -DNAME="c" -la
//: main -lb -la -DNAME="main"
//: stdout "+t +b +a +c +main "

#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

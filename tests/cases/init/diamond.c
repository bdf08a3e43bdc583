//: lib libd.so -DNAME="d"
//: lib libb.so -DNAME="b" -ld
//: lib libc1.so -DNAME="c" -ld
//: main -lb -lc1 -DNAME="main"
//: stdout "+d +c +b +main "

#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

//: lib libe.so -DNAME="e"
//: lib libd.so -DNAME="d" -le
//: lib libc1.so -DNAME="c"
//: lib libb.so -DNAME="b" -lc1 -le
//: lib liba.so -DNAME="a" -ld -lc1
//: main -le -la -lb -lc1 -DNAME="main"
//: stdout "+e +d +c +b +a +main "

#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

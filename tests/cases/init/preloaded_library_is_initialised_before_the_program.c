//: lib libb.so -DNAME="b"
//: lib libp.so -DNAME="p" -lb
//: lib liba.so -DNAME="a"
//: main -la -DNAME="main"
//: env LD_PRELOAD=$DIR/libp.so
//: stdout "+b +a +p +main "

#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

//: lib libc1.so -DNAME="c"
//: lib libb.so -DNAME="b" -lc1
//: lib liba.so -DNAME="a" -lb
//: main -la -DNAME="main"
//: musl
//: stdout "+c +b +a +main main -main -a -b -c"

#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef LIB_C1
__attribute__((destructor)) static void fini(void) { say("-" STRING(NAME) "\n"); }
#else
__attribute__((destructor)) static void fini(void) { say("-" STRING(NAME) " "); }
#endif
#ifdef MAIN
int main(void) { say("main "); }
#endif

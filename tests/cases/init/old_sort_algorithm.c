//: lib libv.so -DNAME="v"
//: lib liby.so -DNAME="y" -lv
//: lib libw.so -DNAME="w" -ly
//: lib libx.so -DNAME="x" -lv
//: lib libz.so -DNAME="z" -lw
//: lib libv.so -DNAME="v" -lx -lz
//: main -lw -DNAME="main"
//: env GLIBC_TUNABLES=glibc.rtld.dynamic_sort=1
//: stdout "+z +v +x +y +w +main "

// The same libraries as in cycles_within_a_cycle, sorted as before glibc 2.35; a tunable brings that back.
#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

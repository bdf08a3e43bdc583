//: lib libv.so -DNAME="v"
//: lib liby.so -DNAME="y" -lv
//: lib libw.so -DNAME="w" -ly
//: lib libx.so -DNAME="x" -lv
//: lib libz.so -DNAME="z" -lw
//: lib libv.so -DNAME="v" -lx -lz
//: main -lw -DNAME="main"
//: stdout "+x +v +y +w +z +main "

// v and x need one another; v, z, w and y form a second cycle. The depth-first sort of glibc 2.35.
#include <unistd.h>
#define TEXT(x) #x
#define STRING(x) TEXT(x)
static void say(const char *s) { while (*s) write(1, s++, 1); }
__attribute__((constructor)) static void init(void) { say("+" STRING(NAME) " "); }
#ifdef MAIN
int main(void) { say("\n"); }
#endif

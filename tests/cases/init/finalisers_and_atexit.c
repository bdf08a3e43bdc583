//: lib liba.so
//: main -la
//: stdout "main atexit-main fini-main fini-a atexit-a"

#include <stdlib.h>
#include <unistd.h>
static void say(const char *s) { while (*s) write(1, s++, 1); }
#ifdef LIB_A
static void at_exit(void) { say("atexit-a\n"); }
__attribute__((constructor)) static void init(void) { atexit(at_exit); }
__attribute__((destructor)) static void fini(void) { say("fini-a "); }
#else
static void at_exit(void) { say("atexit-main "); }
__attribute__((destructor)) static void fini(void) { say("fini-main "); }
int main(void) {
    atexit(at_exit);
    say("main ");
}
#endif

//: lib liba.so
//: main -la
//: musl
//: stdout "101 102 plain | -plain -102 -101"

#include <unistd.h>
static void say(const char *s) { while (*s) write(1, s++, 1); }
#ifdef LIB_A
__attribute__((constructor)) static void plain(void) { say("plain "); }
__attribute__((constructor(102))) static void second(void) { say("102 "); }
__attribute__((constructor(101))) static void first(void) { say("101 "); }
__attribute__((destructor)) static void fini_plain(void) { say("-plain "); }
__attribute__((destructor(102))) static void fini_second(void) { say("-102 "); }
__attribute__((destructor(101))) static void fini_first(void) { say("-101\n"); }
#else
int main(void) { say("| "); }
#endif

//: lib liba.so
//: main -la
//: stdout "preinit +a +main main"

#include <unistd.h>
static void say(const char *s) { while (*s) write(1, s++, 1); }
#ifdef LIB_A
__attribute__((constructor)) static void init(void) { say("+a "); }
#else
static void preinit(void) { say("preinit "); }
__attribute__((section(".preinit_array"), used)) static void (*entry)(void) = preinit;
__attribute__((constructor)) static void init(void) { say("+main "); }
int main(void) { say("main\n"); }
#endif

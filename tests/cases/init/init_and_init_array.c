//: lib liba.so -Wl,-init,dt_init -Wl,-fini,dt_fini
//: main -la
//: arch -riscv64
//: musl
//: stdout "DT_INIT DT_INIT_ARRAY main DT_FINI_ARRAY DT_FINI"

#include <unistd.h>
static void say(const char *s) { while (*s) write(1, s++, 1); }
#ifdef LIB_A
void dt_init(void) { say("DT_INIT "); }
void dt_fini(void) { say("DT_FINI\n"); }
__attribute__((constructor)) static void array(void) { say("DT_INIT_ARRAY "); }
__attribute__((destructor)) static void fini_array(void) { say("DT_FINI_ARRAY "); }
#else
int main(void) { say("main "); }
#endif

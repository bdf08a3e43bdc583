//: file v.map V1 { global: *; };
//: lib liba.so -Wl,-Bsymbolic -Wl,--version-script=v.map
//: lib libb.so
//: main -lb -la
//: stdout "old definition of a"

// DT_SYMBOLIC puts the library before the scope also for names that it has only in an old version: the undefined,
// unversioned `who` finds the library's own who@V1, which nobody else would see as the default.
#ifdef LIB_A
__asm__(".symver old_who, who@V1");
const char *old_who(void) { return "old definition of a"; }
const char *who(void);
const char *ask(void) { return who(); }
#elif defined LIB_B
const char *who(void) { return "b"; }
#else
#include <stdio.h>
const char *ask(void);
int main(void) { puts(ask()); }
#endif

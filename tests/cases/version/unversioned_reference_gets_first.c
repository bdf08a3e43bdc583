//: file v2.map V1 { global: who; local: *; };\nV2 { } V1;
//: lib liba.so -DOLD into old
//: main -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so -Wl,--version-script=v2.map into new
//: stdout "first version"

// Linked before the library had versions: the oldest definition (version index 2) is meant, though it is hidden.
#ifdef LIB_A
#ifdef OLD
const char *who(void) { return "no version"; }
#else
__asm__(".symver old_who, who@V1");
__asm__(".symver new_who, who@@V2");
const char *old_who(void) { return "first version"; }
const char *new_who(void) { return "second version"; }
#endif
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

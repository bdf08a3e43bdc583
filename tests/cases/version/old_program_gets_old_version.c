//: file v1.map V1 { global: who; local: *; };
//: file v2.map V1 { global: who; local: *; };\nV2 { } V1;
//: lib liba.so -Wl,--version-script=v1.map -DOLD into old
//: main -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so -Wl,--version-script=v2.map into new
//: stdout "old in new"

#ifdef LIB_A
#ifdef OLD
const char *who(void) { return "old in old"; }
#else
__asm__(".symver old_who, who@V1");
__asm__(".symver new_who, who@@V2");
const char *old_who(void) { return "old in new"; }
const char *new_who(void) { return "new in new"; }
#endif
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

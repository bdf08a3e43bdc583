//: file v.map V1 { global: who; local: *; };\nV2 { } V1;
//: lib liba.so -Wl,--version-script=v.map
//: main -la
//: stdout new

#ifdef LIB_A
__asm__(".symver old_who, who@V1");
__asm__(".symver new_who, who@@V2");
const char *old_who(void) { return "old"; }
const char *new_who(void) { return "new"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

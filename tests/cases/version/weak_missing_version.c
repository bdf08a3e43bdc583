//: file v1.map V1 { global: old; local: *; };
//: file v2.map V1 { global: old; local: *; };\nV2 { global: who; } V1;
//: lib liba.so -Wl,--version-script=v2.map into new
//: main -Lnew -la -Wl,-rpath,$ORIGIN/old
//: weaken main V2
//: lib liba.so -Wl,--version-script=v1.map into old
//: stdout "none"
//: stderr weak version `V2' not found (required by

// All references to V2 are weak (VER_FLG_WEAK): it may be missing, and the function is absent.
#ifdef LIB_A
void old(void) {}
const char *who(void) { return "a"; }
#else
#include <stdio.h>
__attribute__((weak)) const char *who(void);
int main(void) { puts(who ? who() : "none"); }
#endif

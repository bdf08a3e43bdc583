//: file v1.map V1 { global: old; local: *; };
//: file v2.map V1 { global: old; local: *; };\nV2 { global: who; } V1;
//: lib liba.so -Wl,--version-script=v2.map into new
//: main -Lnew -la -Wl,-rpath,$ORIGIN/old
//: lib liba.so -Wl,--version-script=v1.map into old
//: status 1
//: stderr version `V2' not found (required by
//: problem version `V2' not found

#ifdef LIB_A
void old(void) {}
const char *who(void) { return "a"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

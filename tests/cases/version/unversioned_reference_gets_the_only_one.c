//: file v2.map V1 { global: other; local: *; };\nV2 { global: who; } V1;
//: lib liba.so -DOLD into old
//: main -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so -Wl,--version-script=v2.map into new
//: stdout "second version"

// No first version of this name, but exactly one other that is not hidden.
#ifdef LIB_A
#ifdef OLD
const char *who(void) { return "no version"; }
#else
void other(void) {}
const char *who(void) { return "second version"; }
#endif
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

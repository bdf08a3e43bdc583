//: file v1.map V1 { global: who; local: *; };
//: file v2.map V1 { global: other; };
//: lib liba.so -Wl,--version-script=v1.map -DOLD into old
//: main -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so -Wl,--version-script=v2.map into new
//: stdout base

// The library has versions, but this symbol is in none of them (index 1): it serves a reference to V1.
#ifdef LIB_A
#ifdef OLD
const char *who(void) { return "old"; }
#else
void other(void) {}
const char *who(void) { return "base"; }
#endif
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

//: file v1.map V1 { global: who; local: *; };
//: lib liba.so -Wl,--version-script=v1.map into old
//: main -Lold -la -Wl,-rpath,$ORIGIN/new
//: lib liba.so into new
//: stdout served
//: stderr no version information available

#ifdef LIB_A
const char *who(void) { return "served"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

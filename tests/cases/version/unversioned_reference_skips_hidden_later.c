//: file v.map V1 { global: other; local: *; };\nV2 { } V1;\nV3 { } V2;
//: lib liba.so -DOLD into old
//: lib libb.so
//: main -Lold -la -lb -Wl,-rpath,$ORIGIN/new:$ORIGIN
//: lib liba.so -Wl,--version-script=v.map into new
//: stdout "b"

// Only hidden definitions above index 2: none is meant, and the search goes on to the next library.
#ifdef LIB_A
#ifdef OLD
const char *who(void) { return "no version"; }
#else
__asm__(".symver who_2, who@V2");
__asm__(".symver who_3, who@V3");
void other(void) {}
const char *who_2(void) { return "V2"; }
const char *who_3(void) { return "V3"; }
#endif
#elif defined LIB_B
const char *who(void) { return "b"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

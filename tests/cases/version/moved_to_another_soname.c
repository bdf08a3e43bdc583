//: file v1.map V1 { global: *; };
//: lib libold.so -Wl,--version-script=v1.map -DHERE into then
//: main -Lthen -lold -Wl,-rpath,$ORIGIN/now
//: lib libnew.so -Wl,--version-script=v1.map into now
//: lib libold.so -Wl,--version-script=v1.map -Lnow -lnew into now
//: stdout moved

// V1 is asked of libold.so by file name; the definition of who@V1 now is in a library that libold.so needs.
#if defined LIB_NEW
const char *who(void) { return "moved"; }
#elif defined LIB_OLD
void stays(void) {}
#ifdef HERE
const char *who(void) { return "in its first place"; }
#endif
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

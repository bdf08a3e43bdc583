//: lib libreal.so
//: lib libf.so -Wl,-F,libreal.so
//: main -lf
//: stdout real

// DT_FILTER: the filtee is searched just before the filter.
#ifdef LIB_REAL
const char *who(void) { return "real"; }
#elif defined LIB_F
const char *who(void) { return "filter"; }
#else
#include <stdio.h>
const char *who(void);
int main(void) { puts(who()); }
#endif

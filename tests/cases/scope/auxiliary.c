//: lib libaux1.so
//: lib libf.so -Wl,-f,libaux1.so
//: main -lf
//: stdout "better plain"

// DT_AUXILIARY: what the filtee lacks comes from the filter.
#ifdef LIB_AUX1
const char *fast(void) { return "better"; }
#elif defined LIB_F
const char *fast(void) { return "plain"; }
const char *slow(void) { return "plain"; }
#else
#include <stdio.h>
const char *fast(void), *slow(void);
int main(void) { printf("%s %s\n", fast(), slow()); }
#endif

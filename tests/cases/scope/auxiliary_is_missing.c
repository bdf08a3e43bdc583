//: lib libf.so -Wl,-f,libgone.so
//: main -lf
//: stdout plain

#ifdef LIB_F
const char *fast(void) { return "plain"; }
#else
#include <stdio.h>
const char *fast(void);
int main(void) { puts(fast()); }
#endif

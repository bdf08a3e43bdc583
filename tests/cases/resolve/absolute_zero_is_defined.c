//: lib liba.so -Wl,--defsym,nothing=0
//: lib libb.so -Wl,--defsym,nothing=0x10
//: main -fPIC -la -lb
//: stdout 0

// A value of zero means "undefined" only for symbols that are not SHN_ABS.
#ifdef MAIN
#include <stdio.h>
extern char nothing[];
char *pointer = nothing;
int main(void) { printf("%#lx\n", (unsigned long)pointer); }
#else
int unused;
#endif

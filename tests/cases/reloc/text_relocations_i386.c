//: lib liba.so -fno-pic -Wl,-z,notext
//: main -la
//: arch i386
//: stdout "9 called"

// R_386_32 and R_386_PC32 in the text segment.
#ifdef LIB_A
#include <stdio.h>
int nine = 9;
const char *called(void) { return "called"; }
void show(void) { printf("%d %s\n", nine, called()); }
#else
void show(void);
int main(void) { show(); }
#endif

//: lib liba.so -fno-pic -mcmodel=large -Wl,-z,notext -Wl,-z,noseparate-code
//: main -la
//: arch x86_64
//: stdout "9 called"

// DT_TEXTREL: 64-bit addresses in instructions.
#ifdef LIB_A
#include <stdio.h>
int nine = 9;
static const char *called(void) { return "called"; }
const char *(*choose(void))(void) { return called; }
void show(void) { printf("%d %s\n", nine, choose()()); }
#else
void show(void);
int main(void) { show(); }
#endif

//: lib liba.so
//: main -la
//: musl
//: stdout "a b c"

#ifdef LIB_A
static const char *const table[] = {"a", "b", "c"};
const char *get(int n) { return table[n]; }
#else
#include <stdio.h>
const char *get(int n);
static const char *(*const functions[])(int) = {get};
int main(void) { printf("%s %s %s\n", functions[0](0), functions[0](1), functions[0](2)); }
#endif

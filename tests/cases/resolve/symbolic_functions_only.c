//: lib liba.so -Wl,-Bsymbolic-functions
//: main -la -rdynamic
//: musl
//: stdout "library, main"

#ifdef LIB_A
const char *function(void) { return "library"; }
const char *object = "library";
const char *ask_function(void) { return function(); }
const char *ask_object(void) { return object; }
#else
#include <stdio.h>
const char *ask_function(void), *ask_object(void);
const char *function(void) { return "main"; }
const char *object = "main";
int main(void) { printf("%s, %s\n", ask_function(), ask_object()); }
#endif

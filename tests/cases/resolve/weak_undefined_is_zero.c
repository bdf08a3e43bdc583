//: lib liba.so
//: main -la
//: musl
//: stdout "no function, no object"

#ifdef LIB_A
__attribute__((weak)) void nowhere_function(void);
__attribute__((weak)) extern int nowhere_object;
int has_function(void) { return nowhere_function != 0; }
int has_object(void) { return &nowhere_object != 0; }
#else
#include <stdio.h>
int has_function(void), has_object(void);
int main(void) {
    printf("%s function, %s object\n", has_function() ? "a" : "no", has_object() ? "an" : "no");
}
#endif

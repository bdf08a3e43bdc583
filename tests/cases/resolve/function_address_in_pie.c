//: lib liba.so
//: lib libb.so
//: main -la -lb
//: musl
//: stdout same

#ifdef LIB_A
void function(void) {}
void *a_address(void) { return (void *)function; }
#elif defined LIB_B
void function(void);
static void (*pointer)(void) = function;
void *b_address(void) { return (void *)pointer; }
#else
#include <stdio.h>
void function(void);
void *a_address(void), *b_address(void);
int main(void) {
    puts(a_address() == (void *)function && b_address() == a_address() ? "same" : "different");
}
#endif

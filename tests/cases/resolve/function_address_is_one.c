//: lib liba.so
//: main -no-pie -fno-pic -la
//: musl
//: stdout same

// The program's non-PIC code takes the address of a library function: its PLT entry becomes the function's one address
// (an undefined symbol with st_value != 0), for the library too.
#ifdef LIB_A
void function(void) {}
void *address(void) { return (void *)function; }
#else
#include <stdio.h>
void function(void);
void *address(void);
int main(void) { puts(address() == (void *)function ? "same" : "different"); }
#endif

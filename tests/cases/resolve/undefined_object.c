//: lib liba.so
//: lib libb.so -la
//: main -lb -la
//: lib liba.so -DWITHOUT
//: status 127
//: stderr undefined symbol: gone
//: problem undefined symbol: gone

// Data references are bound at once, also in lazy mode.
#ifdef LIB_A
#ifndef WITHOUT
int gone;
#endif
int unused;
#elif defined LIB_B
extern int gone;
int *pointer = &gone;
#else
extern int *pointer;
int main(void) { return pointer == 0; }
#endif

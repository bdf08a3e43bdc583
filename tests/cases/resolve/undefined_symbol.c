//: lib liba.so
//: main -la -Wl,-z,now
//: lib liba.so -DWITHOUT
//: status 127
//: stderr undefined symbol: gone
//: problem undefined symbol: gone

#ifdef LIB_A
#ifndef WITHOUT
void gone(void) {}
#endif
#else
void gone(void);
int main(void) { gone(); }
#endif

//: lib libreal.so
//: lib libf.so -Wl,-F,libreal.so
//: main -lf
//: remove libreal.so
//: status 127
//: stderr libreal.so: cannot open shared object file
//: problem libreal.so

#ifdef LIB_F
const char *who(void) { return "filter"; }
#elif defined LIB_REAL
const char *who(void) { return "real"; }
#else
const char *who(void);
int main(void) { return who() == 0; }
#endif

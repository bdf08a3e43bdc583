//: lib libgone.so
//: lib liba.so -lgone
//: main -la
//: remove libgone.so
//: status 127
//: stderr libgone.so: cannot open shared object file: No such file or directory
//: problem libgone.so

#ifdef LIB_GONE
int gone(void) { return 1; }
#elif defined LIB_A
int gone(void);
int a(void) { return gone(); }
#else
int a(void);
int main(void) { return a(); }
#endif

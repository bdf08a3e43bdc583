//: lib libdep.so -lm -Wl,-z,nodefaultlib
//: main -L. -ldep
//: arch x86_64
//: status 127
//: stderr libm.so.6: cannot open shared object file
//: problem libm.so.6: cannot open shared object file
double cos(double);
double dep(double);
#ifdef LIB_DEP
double dep(double x) { return cos(x); }
#endif
#ifdef MAIN
int main(void) { return (int)dep(0); }
#endif

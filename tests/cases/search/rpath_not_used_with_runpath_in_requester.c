//: lib libx.so into near
//: lib libdep.so -Lnear -lx -Wl,-rpath,$ORIGIN/none -Wl,--enable-new-dtags
//: main -L. -ldep -Wl,-rpath,$ORIGIN:$ORIGIN/near -Wl,--disable-new-dtags
//: status 127
//: stderr libx.so: cannot open shared object file
//: problem libx.so: cannot open shared object file
int x(void), dep(void);
#ifdef LIB_X
int x(void) { return 0; }
#endif
#ifdef LIB_DEP
int dep(void) { return x(); }
#endif
#ifdef MAIN
int main(void) { return dep(); }
#endif

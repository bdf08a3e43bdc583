//: lib libx.so -DVALUE=1 into near
//: lib libdep.so -Lnear -lx -Wl,-rpath,$ORIGIN/none
//: main -L. -ldep -Wl,-rpath,$ORIGIN:$ORIGIN/near -Wl,--enable-new-dtags
//: env LD_LIBRARY_PATH=$DIR/none
//: status 127
//: stderr libx.so: cannot open shared object file
//: problem libx.so: cannot open shared object file
int x(void), dep(void);
#ifdef LIB_X
int x(void) { return VALUE; }
#endif
#ifdef LIB_DEP
int dep(void) { return x(); }
#endif
#ifdef MAIN
int main(void) { return dep(); }
#endif

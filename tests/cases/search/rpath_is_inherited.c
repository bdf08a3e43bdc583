//: lib libx.so into near
//: lib libdep.so -Lnear -lx -Wl,-rpath,$ORIGIN/none -Wl,--disable-new-dtags
//: main -L. -ldep -Wl,-rpath,$ORIGIN:$ORIGIN/near -Wl,--disable-new-dtags
//: stdout found
//: musl
int puts(const char *);
int x(void), dep(void);
#ifdef LIB_X
int x(void) { return puts("found"); }
#endif
#ifdef LIB_DEP
int dep(void) { return x(); }
#endif
#ifdef MAIN
int main(void) { dep(); return 0; }
#endif

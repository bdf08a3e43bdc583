//: lib libx.so -DVALUE=1 into a
//: lib libx.so -DVALUE=2 into b
//: lib liby.so -DVALUE=10 into a
//: lib liby.so -DVALUE=20 into b
//: lib libold.so -lx -Wl,-rpath,$ORIGIN/a -Wl,--disable-new-dtags
//: lib libnew.so -ly -Wl,-rpath,$ORIGIN/a -Wl,--enable-new-dtags
//: main -lold -lnew
//: env LD_LIBRARY_PATH=$DIR/b
//: stdout "1 20"
int printf(const char *, ...);
int x(void), y(void), by_rpath(void), by_runpath(void);
#ifdef LIB_X
int x(void) { return VALUE; }
#endif
#ifdef LIB_Y
int y(void) { return VALUE; }
#endif
#ifdef LIB_OLD
int by_rpath(void) { return x(); }
#endif
#ifdef LIB_NEW
int by_runpath(void) { return y(); }
#endif
#ifdef MAIN
int main(void) { printf("%d %d\n", by_rpath(), by_runpath()); return 0; }
#endif

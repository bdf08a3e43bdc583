//: lib libx.so -DVALUE=1 into lib
//: lib libx.so -DVALUE=2 into lib/glibc-hwcaps/x86-64-v2
//: lib liby.so -DVALUE=3 into lib
//: lib liby.so -DVALUE=4 into lib/tls
//: main -Llib -lx -ly -Wl,-rpath,$ORIGIN/lib
//: arch x86_64
//: stdout "2 4"
int printf(const char *, ...);
int x(void), y(void);
#ifdef LIB_X
int x(void) { return VALUE; }
#endif
#ifdef LIB_Y
int y(void) { return VALUE; }
#endif
#ifdef MAIN
int main(void) { printf("%d %d\n", x(), y()); return 0; }
#endif

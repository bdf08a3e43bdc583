//: lib liby.so -DVALUE=1 into real
//: lib liby.so -DVALUE=2 into link
//: lib libx.so -Lreal -ly -Wl,-rpath,$ORIGIN into real
//: link link/libx.so ../real/libx.so
//: main -Lreal -lx -Wl,-rpath,$ORIGIN/link
//: stdout "2"
//: musl
int printf(const char *, ...);
int x(void), y(void);
#ifdef LIB_Y
int y(void) { return VALUE; }
#endif
#ifdef LIB_X
int x(void) { return y(); }
#endif
#ifdef MAIN
int main(void) { printf("%d\n", x()); return 0; }
#endif

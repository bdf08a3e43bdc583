//: lib libz.so -DVALUE=1 -Wl,-soname,liby.so into a
//: lib liby.so -DVALUE=2 into b
//: lib libstub.so -DVALUE=0 -Wl,-soname,libz.so into c
//: main -lstub -ly -Wl,-rpath,$ORIGIN/a:$ORIGIN/b
//: stdout "1 1"
int printf(const char *, ...);
int x(void), y(void);
#ifdef VALUE
int x(void) { return VALUE; }
int y(void) { return VALUE; }
#else
int main(void) { printf("%d %d\n", x(), y()); return 0; }
#endif

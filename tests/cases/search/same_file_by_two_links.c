//: lib libx.so -Wl,-soname,libx.so
//: lib liby.so -Wl,-soname,liby.so
//: main -L. -lx -ly
//: remove liby.so
//: link liby.so libx.so
//: stdout "1"
//: musl
int printf(const char *, ...);
static int count;
int next(void);
#ifndef MAIN
int next(void) { return ++count; }
#else
int main(void) { printf("%d\n", next()); return 0; }
#endif

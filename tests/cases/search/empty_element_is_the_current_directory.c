//: lib libx.so
//: main -L. -lx -Wl,-rpath,/nowhere
//: env LD_LIBRARY_PATH=/nowhere::/nothing
//: stdout found
//: nolink
int puts(const char *);
int x(void);
#ifdef LIB_X
int x(void) { return puts("found"); }
#endif
#ifdef MAIN
int main(void) { x(); return 0; }
#endif

//: lib libp.so into p
//: main -Wl,-rpath,$ORIGIN/p
//: env LD_PRELOAD=libp.so libnowhere.so
//: stdout preloaded
//: stderr object 'libnowhere.so' from LD_PRELOAD cannot be preloaded
int puts(const char *);
#ifdef LIB_P
__attribute__((constructor)) static void start(void) { puts("preloaded"); }
#else
int main(void) { return 0; }
#endif

//: lib liba.so
//: main -la -Wl,-E
//: arch x86_64 i386
//: status 127
//: stderr is defined in the executable and creates an unsatisfiable circular dependency.
//: problem is defined in the executable and creates an unsatisfiable circular dependency.
//: nolink

// A library's pointer to an IFUNC of the program, which is relocated last: ld.so stops.
#ifdef LIB_A
int function(void);
int (*pointer)(void) = function;
int call(void) { return pointer(); }
#else
static int one(void) { return 41; }
static void *resolver(void) { return one; }
int function(void) __attribute__((ifunc("resolver")));
int call(void);
int main(void) { return call(); }
#endif

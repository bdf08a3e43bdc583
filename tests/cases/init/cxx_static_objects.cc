//: lib liba.so
//: main -la
//: arch x86_64
//: stdout "library made"
//: stdout "program made"
//: stdout "main"
//: stdout "program destroyed"
//: stdout "library destroyed"

#include <cstdio>
#ifdef LIB_A
#define WHO "library"
#else
#define WHO "program"
#endif
namespace {
struct Loud {
    Loud() { std::puts(WHO " made"); }
    ~Loud() { std::puts(WHO " destroyed"); }
} loud;
}
#ifdef MAIN
int main() { std::puts("main"); }
#endif

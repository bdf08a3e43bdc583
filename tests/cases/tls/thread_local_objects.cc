//: lib liba.so
//: main -la
//: arch x86_64
//: stdout "made destroyed"
//: stdout "main done"
//: stdout "made destroyed"

// thread_local with constructor and destructor (wrapper and init functions, __cxa_thread_atexit).
struct Loud {
    Loud();
    ~Loud();
    int touched = 0;
};
extern thread_local Loud loud;
#ifdef LIB_A
#include <cstdio>
Loud::Loud() { std::printf("made "); }
Loud::~Loud() { std::printf("destroyed\n"), std::fflush(stdout); }
thread_local Loud loud;
#else
#include <cstdio>
#include <thread>
int main() {
    std::thread([] { ++loud.touched; }).join();
    std::printf("main done\n");
    ++loud.touched;
}
#endif

#define THROWER
#include "thrower.h"
#include <cstdio>
#include <new>
struct Noise {
    const char *where;
    ~Noise() { std::printf("  ~Noise %s\n", where); }
};
Base::~Base() {}
const char *Base::name() const { return "Base"; }
const char *Derived::name() const { return "Derived"; }
const char *Other::name() const { return "Other"; }
static const char *const text = "a pointer";
void throws(int kind) {
    Noise noise = {"throws"};
    switch (kind) {
    case 1: throw Derived(41);
    case 2: throw Other("what other says");
    case 3: throw 7;
    case 4: {
        volatile size_t size = ~size_t(0) - 64;
        ::operator delete(::operator new(size));
        return;
    }
    case 5: throw text;
    }
}
int through(int (*f)(int), int x) {
    Noise noise = {"through"};
    return f(x) + 1;
}
std::exception_ptr kept(int kind) {
    try {
        throws(kind);
    } catch (...) {
        return std::current_exception();
    }
    return nullptr;
}

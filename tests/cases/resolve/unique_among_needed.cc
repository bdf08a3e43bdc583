//: lib liba.so
//: lib libb.so
//: main -la -lb
//: arch x86_64
//: stdout "2"

#if defined LIB_A || defined LIB_B
template <typename T> struct Shared {
    static int counter;
};
template <typename T> int Shared<T>::counter = 0;
#ifdef LIB_A
int a() { return ++Shared<int>::counter; }
#else
int b() { return ++Shared<int>::counter; }
#endif
#else
#include <cstdio>
int a(), b();
int main() {
    a();
    std::printf("%d\n", b());
}
#endif

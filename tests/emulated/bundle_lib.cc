// The library of test_bundle.py's C++ program.
#include <stdexcept>
#include <string>
thread_local int counter = 7;
int shared = 3;
struct Init {
  Init() { shared += 1; }
} init;
int bump() { return ++counter; }
void thrower(int n) {
  if (n > 2) throw std::runtime_error("n=" + std::to_string(n));
}

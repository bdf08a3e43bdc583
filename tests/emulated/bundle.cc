// Exceptions across libraries, thread_local, threads, iostreams: for test_bundle.py.
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <thread>
extern thread_local int counter;
extern int shared;
int bump();
void thrower(int);
thread_local int own = 5;
int main() {
  try {
    thrower(1);
    thrower(5);
  } catch (const std::exception &e) {
    std::cout << "caught " << e.what() << "\n";
  }
  std::mutex m;
  int sum = 0;
  std::thread other([&] {
    for (int i = 0; i < 3; i++) bump();
    try {
      thrower(3);
    } catch (const std::runtime_error &) {
      std::lock_guard<std::mutex> guard(m);
      sum += counter + own;
    }
  });
  other.join();
  bump();
  std::cout << sum << " " << counter << " " << shared << " " << own << std::endl;
  return 3;
}

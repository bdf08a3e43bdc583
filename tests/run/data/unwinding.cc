// Exceptions, thread_local objects, cancellation: everything that unwinds, in every thread.
#include <atomic>
#include <iostream>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

static std::atomic<int> gone;
struct Counted {
    ~Counted() { ++gone; }
};
struct Text : Counted {
    std::string text{"start"};
};
thread_local Text text;
static thread_local int number = 5;

static int deep(int n) {
    Counted c;
    if (n == 0) throw std::runtime_error("from far below");
    return deep(n - 1) + 1;
}

static void *waits(void *) {
    Counted c;
    for (;;) pause();
}

static void *leaves(void *) {
    Counted c;
    pthread_exit((void *)3);
}

int main() {
    std::vector<std::thread> threads;
    std::atomic<int> sum{0};
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([i, &sum] {
            text.text += std::to_string(i);
            number += i;
            try {
                deep(20 + i);
            } catch (const std::exception &e) {
                sum += number + (int)text.text.size();
            }
        });
    for (auto &t : threads) t.join();
    std::cout << gone << " " << sum << " " << text.text << number << "\n";
    try {
        std::string("x").at(10);
    } catch (const std::out_of_range &e) {
        std::cout << e.what() << "\n";
    }
    pthread_t thread;
    gone = 0;
    pthread_create(&thread, nullptr, waits, nullptr);
    usleep(20000);
    pthread_cancel(thread);
    pthread_join(thread, nullptr);
    pthread_create(&thread, nullptr, leaves, nullptr);
    pthread_join(thread, nullptr);
    std::cout << gone << "\n";
    throw std::logic_error("nobody catches this");
}

#include "thrower.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <typeinfo>
#include <vector>
static int live;
struct Counted {
    int n;
    explicit Counted(int k) : n(k) { ++live; std::printf("  +%d\n", n); }
    Counted(const Counted &o) : n(o.n) { ++live; std::printf("  copy %d\n", n); }
    ~Counted() { --live; std::printf("  -%d\n", n); }
};
static void caught(int kind) {
    try {
        throws(kind);
        std::puts("nothing");
    } catch (const Derived &d) {
        std::printf("derived %d %s\n", d.value, d.name());
    } catch (const std::runtime_error &e) {
        const Base *b = dynamic_cast<const Base *>(&e);
        std::printf("runtime_error %s %s\n", e.what(), b ? b->name() : "no Base");
    } catch (const std::bad_alloc &) {
        std::puts("bad_alloc");
    } catch (const char *s) {
        std::printf("text %s\n", s);
    } catch (...) {
        std::puts("something");
    }
}
static int rethrows(int depth) {
    Counted here(depth);
    try {
        if (!depth) throw Derived(depth + 100);
        return rethrows(depth - 1);
    } catch (Base &b) {
        std::printf("level %d %s\n", depth, b.name());
        if (depth < 3) throw;
        return static_cast<Derived &>(b).value;
    }
}
static int back(int x) {
    Counted here(x);
    if (x > 1) throw Other("from the callback");
    return x * 10;
}
struct Members {
    Counted a, b;
    Members() : a(1), b(2) { throw 5; }
};
static int function_try(int x) try {
    Counted here(x);
    if (x) throw x;
    return 0;
} catch (int y) {
    return y + 1;
}
static int compare(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    if (x == 13 || y == 13) throw 13;
    return x - y;
}
static void noexcept_violated() noexcept { throw 1; }
int main(int argc, char **argv) {
    std::setvbuf(stdout, nullptr, _IONBF, 0);
    for (int kind = 0; kind < 6; kind++) caught(kind);
    std::printf("rethrown %d\n", rethrows(4));
    try { std::printf("through %d\n", through(back, 1)); through(back, 2); }
    catch (Base &b) { std::printf("caught %s\n", b.name()); }
    try { Members m; } catch (int n) { std::printf("members %d live %d\n", n, live); }
    std::printf("function try %d %d\n", function_try(0), function_try(3));
    std::exception_ptr p = kept(2);
    for (int i = 0; i < 2; i++) {
        try { std::rethrow_exception(p); } catch (const Other &o) { std::printf("kept %s\n", o.what()); }
    }
    try {
        try { throw std::logic_error("inner"); }
        catch (...) { std::throw_with_nested(std::runtime_error("outer")); }
    } catch (const std::exception &e) {
        std::printf("%s", e.what());
        try { std::rethrow_if_nested(e); } catch (const std::exception &n) { std::printf(" around %s\n", n.what()); }
    }
    try {
        Counted outer(1);
        try { Counted inner(2); throw 1; }
        catch (int) { Counted handler(3); throw 2.5; }
    } catch (double d) { std::printf("%g\n", d); }
    try { throw std::unique_ptr<int>(new int(9)); } catch (std::unique_ptr<int> &u) { std::printf("unique %d\n", *u); }
    try { std::vector<int>(3).at(5); } catch (const std::out_of_range &) { std::puts("out_of_range"); }
    try { std::function<void()> f; f(); } catch (const std::bad_function_call &) { std::puts("bad_function_call"); }
    try { Derived d(1); Base &b = d; (void)dynamic_cast<Other &>(b); } catch (const std::bad_cast &) { std::puts("bad_cast"); }
    try { Base *b = nullptr; (void)typeid(*b).name(); } catch (const std::bad_typeid &) { std::puts("bad_typeid"); }
    try { Counted *many = new Counted[3]{Counted(1), Counted(2), Counted((throw 3, 3))}; delete[] many; }
    catch (int n) { std::printf("array %d live %d\n", n, live); }
    std::map<int, int> sums;
    for (int i = 0; i < 200; i++) {
        try { if (i % 3) throw i; sums[-1]++; } catch (int n) { sums[n % 3]++; }
    }
    std::printf("many %d %d %d\n", sums[-1], sums[1], sums[2]);
    std::printf("uncaught %d live %d\n", std::uncaught_exception(), live);
    if (argc > 1 && !std::strcmp(argv[1], "qsort")) {
        int numbers[] = {5, 13, 1};
        try { std::qsort(numbers, 3, sizeof *numbers, compare); std::puts("sorted"); }
        catch (int n) { std::printf("out of qsort %d\n", n); }
    }
    if (argc > 1 && !std::strcmp(argv[1], "terminate")) throw Derived(1);
    if (argc > 1 && !std::strcmp(argv[1], "handler")) {
        std::set_terminate([] { std::puts("my terminate"); std::exit(9); });
        noexcept_violated();
    }
    if (argc > 1 && !std::strcmp(argv[1], "abort")) std::abort();
    return live;
}

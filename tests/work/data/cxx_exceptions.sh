# C++: exceptions across libraries, plugins and threads; rethrow, nested, foreign frames, terminate, bad_alloc, noexcept
# needs: g++
# with:
# with: --lazy
# with: --interp
cat >e.h <<'END'
#include <stdexcept>
#include <string>
struct Base { virtual ~Base() {} virtual std::string name() const { return "base"; } };
struct Derived : Base { std::string name() const override { return "derived"; } };
struct Own : std::runtime_error { using runtime_error::runtime_error; int code = 7; };
struct Local { const char *n; ~Local(); }; extern int destroyed;
void thrower(int); void catcher(void (*)());
END
cat >l.cc <<'END'
#include "e.h"
#include <cstdio>
int destroyed; Local::~Local() { destroyed++; }
void thrower(int n) { Local l{ "x" }; if (n > 10) thrower(n - 1); switch (n) { case 0: throw Own("own"); case 1: throw 42; case 2: throw Derived(); case 3: throw std::out_of_range("range"); case 4: throw "text"; default: thrower(n % 5); } }
void catcher(void (*f)()) { try { f(); } catch (Own &e) { printf("library caught %s %d\n", e.what(), e.code); } catch (...) { puts("library rethrows"); throw; } }
END
cat >p.cc <<'END'
#include "e.h"
extern "C" void plugin_throw(int n) { Local l{ "p" }; if (n == 1) throw Own("from a plugin"); if (n == 2) throw Derived(); throw std::string("string"); }
extern "C" bool plugin_is(Base *b) { return dynamic_cast<Derived *>(b) != nullptr; } extern "C" Base *plugin_make() { return new Derived; }
END
cat >t.cc <<'END'
#include "e.h"
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <exception>
#include <new>
#include <thread>
#include <vector>
#include <typeinfo>
static int cmp(const void *, const void *) { throw Own("through qsort"); }
static void nest() { try { thrower(0); } catch (...) { std::throw_with_nested(std::logic_error("outer")); } }
int main(int argc, char **) {
    for (int i = 0; i < 5; i++) try { thrower(i + 20 * (i & 1) * 0); } catch (std::exception &e) { printf("std %s %s\n", e.what(), typeid(e).name()); } catch (int n) { printf("int %d\n", n); } catch (Base &b) { printf("base %s\n", b.name().c_str()); } catch (const char *s) { puts(s); }
    try { thrower(3000); } catch (...) { printf("destroyed %d\n", destroyed); } catcher([] { thrower(0); }); try { catcher([] { thrower(1); }); } catch (int n) { printf("%d\n", n); }
    try { int a[3] = {}; qsort(a, 3, 4, cmp); } catch (Own &e) { puts(e.what()); } try { nest(); } catch (std::exception &e) { try { std::rethrow_if_nested(e); } catch (Own &o) { printf("%s in %s\n", o.what(), e.what()); } }
    void *h = dlopen("./libp.so", RTLD_NOW); if (!h) { puts(dlerror()); return 1; } auto pt = (void (*)(int))dlsym(h, "plugin_throw"); for (int i = 1; i < 4; i++) try { pt(i); } catch (Own &e) { puts(e.what()); } catch (Base &b) { puts(b.name().c_str()); } catch (std::string &s) { puts(s.c_str()); }
    Derived d; Base b; auto is = (bool (*)(Base *))dlsym(h, "plugin_is"); Base *m = ((Base * (*)()) dlsym(h, "plugin_make"))(); printf("%d %d %d %d\n", is(&d), is(&b), dynamic_cast<Derived *>(m) != nullptr, typeid(*m) == typeid(Derived)); delete m;
    std::vector<std::thread> t; static int caught; for (int i = 0; i < 16; i++) t.emplace_back([=] { for (int k = 0; k < 200; k++) try { thrower(k % 5); } catch (...) { __sync_fetch_and_add(&caught, 1); } try { pt(1); } catch (Own &) { __sync_fetch_and_add(&caught, 1000000); } }); for (auto &x : t) x.join(); printf("%d\n", caught);
    std::exception_ptr p; std::thread q([&] { try { pt(3); } catch (...) { p = std::current_exception(); } }); q.join(); try { std::rethrow_exception(p); } catch (std::string &s) { puts(s.c_str()); } try { volatile size_t n = (size_t)1 << 60; delete[] new char[n]; } catch (std::bad_alloc &e) { puts(e.what()); } dlclose(h); fflush(stdout);
    if (argc == 2) thrower(0); if (argc == 3) [] () noexcept { thrower(1); }(); if (argc == 4) { std::set_terminate([] { puts("own terminate"); exit(9); }); thrower(2); } return 0;
}
END
g++ -O1 -shared -fPIC l.cc -o libl.so; g++ -O1 -shared -fPIC p.cc -o libp.so -L. -ll; g++ -w -O1 t.cc -o t -L. -ll -Wl,-rpath,'$ORIGIN'; g++ -w -O1 t.cc -o tn -no-pie -fno-pie -static-libgcc -L. -ll -Wl,-rpath,'$ORIGIN'
#== run
ulimit -c 0; $RUN ./t; echo "status $?"; $RUN ./tn; echo "status $?"; for a in 1 '1 2' '1 2 3'; do { $RUN ./t $a; echo "status $?"; } 2>&1 | tail -4 | sed 's/.*Aborted.*/Aborted/'; done

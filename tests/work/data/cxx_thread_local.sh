# C++: thread_local objects with destructors in program, library and plugin; std::thread, async, mutexes, statics, call_once, promises
# needs: g++
# with:
# with: --lazy
cat >l.cc <<'END'
#include <cstdio>
#include <string>
struct Said { std::string s; Said(const char *p) : s(p) { printf("made %s\n", p); } ~Said() { printf("gone %s\n", s.c_str()); } };
thread_local Said in_library("library's"); const char *library() { return in_library.s.c_str(); } static Said at_start("static"); extern "C" const char *plug() { static thread_local Said x("plugin's"); return x.s.c_str(); } inline Said &shared() { static Said s("inline static"); return s; } void touch() { shared(); }
END
cat >t.cc <<'END'
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <dlfcn.h>
#include <future>
#include <iostream>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>
const char *library(); struct Count { static std::atomic<int> n; int v = ++n; ~Count() { --n; } }; std::atomic<int> Count::n; thread_local Count c; thread_local std::vector<int> v(1000, 3); static std::once_flag flag;
struct Late { ~Late() { std::cout << "late static" << std::endl; } } late; thread_local struct M { std::thread::id id = std::this_thread::get_id(); ~M(); } mt; static auto first = std::this_thread::get_id(); M::~M() { if (id == first) std::cout << "main's thread_local" << std::endl; }
int main() {
    (void)&mt; std::cout << library() << std::endl; std::thread([] { std::cout << library() << std::endl; }).join(); std::vector<std::thread> t; std::atomic<long> sum{ 0 }; std::mutex m; std::shared_mutex sm; int shared = 0;
    for (int i = 0; i < 24; i++) t.emplace_back([&, i] { std::call_once(flag, [] { std::cout << "once\n"; }); c.v += i; v[i] = i; for (int x : v) sum += x; for (int k = 0; k < 500; k++) { std::lock_guard g(m); ++shared; } std::shared_lock s(sm); }); for (auto &x : t) x.join(); std::cout << sum << ' ' << shared << ' ' << Count::n << '\n';
    std::promise<int> p; auto f = p.get_future(); std::thread([&] { p.set_value_at_thread_exit(5); }).join(); std::cout << f.get() << '\n'; auto a = std::async(std::launch::async, [] { return std::string("async ") + library(); }); std::cout << a.get() << std::endl; try { std::async(std::launch::async, []() -> int { throw std::runtime_error("in a future"); }).get(); } catch (std::exception &e) { std::cout << e.what() << std::endl; }
    std::condition_variable cv; bool go = false; std::thread w([&] { std::unique_lock l(m); cv.wait(l, [&] { return go; }); std::cout << "woken" << std::endl; }); { std::lock_guard l(m); go = true; } cv.notify_all(); w.join(); std::this_thread::sleep_for(std::chrono::milliseconds(5));
    void *h = dlopen("./libplug.so", RTLD_NOW); if (!h) std::cout << dlerror() << std::endl; auto plug = (const char *(*)())dlsym(h, "plug"); std::thread([=] { std::cout << plug() << std::endl; }).join(); std::thread keep([=] { plug(); dlclose(h); std::cout << "closed inside" << std::endl; }); keep.join(); std::cout << "plugin " << (dlopen("./libplug.so", RTLD_NOLOAD | RTLD_NOW) ? "stays" : "went") << std::endl; std::jthread j([](std::stop_token s) { while (!s.stop_requested()) std::this_thread::yield(); }); std::cout << "main ends" << std::endl;
}
END
g++ -std=c++20 -O1 -shared -fPIC l.cc -o libl.so; sed 's/library/plib/g; s/"static"/"plugin static"/; s/Said/PSaid/g' l.cc >pl.cc; g++ -std=c++20 -fno-gnu-unique -O1 -shared -fPIC pl.cc -o libplug.so; g++ -std=c++20 -O1 t.cc -o t -L. -ll -Wl,-rpath,'$ORIGIN' -pthread
#== run
$RUN ./t; echo "status $?"

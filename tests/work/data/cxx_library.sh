# C++: iostream, locale facets, regex, filesystem, chrono, random, format of floats, wide streams, valarray, codecvt, unique symbols
# needs: g++
# with:
# with: --lazy
# with: --now
cat >t.cc <<'END'
#include <any>
#include <bitset>
#include <charconv>
#include <chrono>
#include <complex>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <locale>
#include <memory_resource>
#include <optional>
#include <random>
#include <regex>
#include <sstream>
#include <unordered_map>
#include <variant>
namespace fs = std::filesystem; struct Comma : std::numpunct<char> { char do_thousands_sep() const override { return '\''; } std::string do_grouping() const override { return "\3"; } }; template <class T> struct Counter { static int n; }; template <class T> int Counter<T>::n; extern "C" int bump() { return ++Counter<int>::n; }
int main() {
    std::cout << std::setprecision(17) << 0.1 << ' ' << std::hex << 255 << ' ' << std::scientific << 12345.678 << std::defaultfloat << std::dec << ' ' << std::boolalpha << true << '\n'; std::cout.imbue(std::locale(std::locale(), new Comma)); std::cout << 123456789 << '\n'; std::cout.imbue(std::locale::classic()); try { std::locale l("nosuch"); } catch (std::exception &e) { std::cout << e.what() << '\n'; } std::cout << std::locale("C.UTF-8").name() << '\n'; std::wcout.imbue(std::locale("C.UTF-8"));
    std::istringstream in("3 x 4.5 0x1f"); int i; std::string s; double d; in >> i >> s >> d; std::cout << i << s << d << (in.good() ? " good\n" : " bad\n"); std::cout << std::put_time(std::gmtime(new time_t(86400)), "%A %F") << ' ' << std::put_money(12345) << '\n'; std::smatch m; std::string text = "key=value; k2=v2"; std::regex pairs("(\\w+)=(\\w+)"); for (std::sregex_iterator r(text.begin(), text.end(), pairs), e; r != e; ++r) std::cout << (*r)[2] << ' ';
    fs::create_directories("d/e"); std::ofstream("d/e/f") << "text"; for (auto &p : fs::recursive_directory_iterator("d")) std::cout << p.path() << ' '; std::cout << fs::file_size("d/e/f") << ' ' << fs::relative(fs::canonical("d/e/../e/f")) << '\n'; try { fs::file_size("none"); } catch (fs::filesystem_error &e) { std::cout << e.code().message() << '\n'; } std::mt19937_64 g(1); std::normal_distribution<> n; std::cout << g() << ' ' << n(g) << ' ' << std::random_device{ "default" }.entropy() * 0 << '\n';
    std::variant<int, std::string> v = "str"; std::visit([](auto &x) { std::cout << x << '\n'; }, v); std::any a = 5; try { std::any_cast<double>(a); } catch (std::bad_any_cast &e) { std::cout << e.what() << '\n'; } std::pmr::monotonic_buffer_resource r; std::pmr::vector<int> pv(1000, 1, &r); std::unordered_map<std::string, int> um; for (int k = 0; k < 10000; k++) um["k" + std::to_string(k % 100)] += k; std::cout << um["k7"] << ' ' << pv.size() << ' ' << std::complex<double>(1, 2) * std::complex<double>(3, 4) << ' ' << std::bitset<8>(0xa5) << ' ' << std::stod("1e3") << '\n'; char b[30]; auto [p, ec] = std::to_chars(b, b + 30, 3.14159265358979); std::cout << std::string(b, p) << ' ' << std::hash<std::string>{}("x") % 1000 << '\n';
    std::cerr << "to stderr\n"; std::clog << "log\n"; std::wcout << L"w\u00efde" << std::endl; bump(); for (const char *l : { "./liba.so", "./libb.so" }) { void *h = dlopen(l, RTLD_NOW | RTLD_LOCAL); if (!h) { std::cout << dlerror() << '\n'; continue; } std::cout << ((int (*)())dlsym(h, "bump_there"))() << ' '; } std::cout << std::endl; std::ifstream f("nosuch"); f.exceptions(std::ios::goodbit); std::cout << f.is_open() << std::flush; printf(" mixed\n"); std::string line; while (std::getline(std::cin, line)) std::cout << '[' << line << ']'; std::cout << std::endl;
}
END
echo 'template <class T> struct Counter { static int n; }; template <class T> int Counter<T>::n; extern "C" int bump_there() { return ++Counter<int>::n; }' >l.cc; g++ -shared -fPIC l.cc -o liba.so; g++ -shared -fPIC l.cc -o libb.so; g++ -w -std=c++20 -O0 t.cc -o t -rdynamic
#== run
printf 'one\ntwo\n' | $RUN ./t; echo "status $?"

# g++: templates, exceptions, <regex>, <thread>, LTO off; cc1plus itself under rtld
# needs: g++
cat >a.cc <<'END'
#include <algorithm>
#include <future>
#include <iostream>
#include <map>
#include <numeric>
#include <regex>
#include <sstream>
int main() {
    std::map<std::string, int> m; std::istringstream in("the quick the lazy the"); for (std::string w; in >> w;) ++m[w];
    for (auto &[k, v] : m) std::cout << k << '=' << v << ' ';
    auto f = std::async(std::launch::async, [] { return 6 * 7; }); std::cout << f.get() << std::endl;
    std::cout << std::regex_replace("a1b22", std::regex("[0-9]+"), "#") << '\n';
    try { std::vector<int>().at(3); } catch (std::exception &e) { std::cout << e.what() << '\n'; }
    throw std::runtime_error("uncaught");
}
END
#== run
$RUN g++ -std=c++20 -O1 a.cc -o a; $RUN ./a; echo "status $?"
$RUN $(g++ -print-prog-name=cc1plus) -quiet -std=c++17 -O0 -D_GNU_SOURCE -imultiarch x86_64-linux-gnu a.cc -o a.s; md5sum a.s | cut -c1-8; $RUN c++filt _ZNSt6vectorIiE2atEm

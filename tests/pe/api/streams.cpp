// Streams of C++, sorting, maps.
#include <algorithm>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>
struct Base { virtual ~Base() { std::cout << "gone\n"; } virtual int value() const = 0; };
struct One : Base { int value() const override { return 42; } };
int main() {
    std::map<std::string, int> words;
    std::istringstream in("the quick the lazy the dog 3.5 0x10");
    std::string word;
    while (in >> word) words[word]++;
    for (auto &[name, count] : words) std::cout << name << '=' << count << ' ';
    std::cout << std::endl << std::setw(8) << std::setfill('*') << std::hex << 255 << std::dec << ' ' << std::fixed << std::setprecision(3) << 3.14159 << ' ' << std::boolalpha << true << '\n';
    std::vector<double> v{3, 1, 2};
    std::sort(v.begin(), v.end());
    for (double x : v) std::cout << x << ' ';
    std::cout << std::scientific << 12345.678 << '\n';
    std::unique_ptr<Base> p = std::make_unique<One>();
    std::cout << p->value() << '\n';
    { std::ofstream f("cpp.txt"); f << "line one\n" << 2 << '\n'; }
    std::ifstream f("cpp.txt");
    std::getline(f, word);
    int n = 0;
    f >> n;
    std::cout << word << n << ' ' << f.good() << ' ' << std::stoi("77") + std::stod("0.5") << ' ' << std::to_string(9) << '\n';
    std::wcout << L"wide " << 5 << L'\n';
    return 5;
}

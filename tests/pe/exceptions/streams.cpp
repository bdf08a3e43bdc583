#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <locale>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>
struct Point { int x, y; };
static std::ostream &operator<<(std::ostream &o, const Point &p) { return o << '(' << p.x << ", " << p.y << ')'; }
static std::istream &operator>>(std::istream &i, Point &p) {
    char a, b, c;
    if (!(i >> a >> p.x >> b >> p.y >> c) || a != '(' || b != ',' || c != ')') i.setstate(std::ios::failbit);
    return i;
}
struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
    std::string do_truename() const override { return "ja"; }
};
int main() {
    std::cout << "hello " << 42 << ' ' << -7L << ' ' << 3.25 << ' ' << true << ' ' << std::boolalpha << true << std::endl;
    std::cout << std::hex << std::showbase << 255 << ' ' << std::oct << 8 << std::dec << std::noshowbase << '\n';
    std::cout << std::setw(8) << 12 << '|' << std::left << std::setw(8) << 12 << '|' << std::internal << std::setfill('0') << std::setw(8) << -12 << std::setfill(' ') << std::right << '\n';
    std::cout << std::fixed << std::setprecision(3) << 3.14159 << ' ' << std::scientific << 12345.678 << ' ' << std::defaultfloat << std::setprecision(10) << 1.0 / 3 << '\n';
    std::cout << Point{3, -4} << ' ' << std::string("string") << ' ' << std::setw(6) << 'c' << '\n';
    std::istringstream in("17 2.5 word (8, 9) 0x1f rest of the line\nnext line\n");
    int i; double d; std::string w, rest; Point p; int hex;
    in >> i >> d >> w >> p >> std::hex >> hex;
    std::getline(in, rest);
    std::cout << i << ' ' << d << ' ' << w << ' ' << p << ' ' << hex << " [" << rest << "]\n";
    std::getline(in, rest);
    std::cout << rest << ' ' << in.eof() << in.fail() << '\n';
    in >> i;
    std::cout << in.eof() << in.fail() << '\n';
    std::istringstream bad("(1; 2)");
    bad.exceptions(std::ios::failbit);
    try { bad >> p; std::cout << "read\n"; } catch (const std::ios_base::failure &) { std::cout << "failure\n"; }
    {
        std::ofstream out("streams.txt");
        for (int n = 0; n < 5; n++) out << n << ' ' << n * n << '\n';
    }
    {
        std::ifstream back("streams.txt");
        int a, b, sum = 0;
        while (back >> a >> b) sum += b;
        std::cout << "sum " << sum << " eof " << back.eof() << '\n';
        back.clear();
        back.seekg(0);
        std::string line;
        int lines = 0;
        while (std::getline(back, line)) lines++;
        std::cout << "lines " << lines << " last " << line.size() << '\n';
    }
    {
        std::fstream both("streams.txt", std::ios::in | std::ios::out | std::ios::binary);
        both.seekp(2);
        both << 'X';
        both.seekg(0);
        std::string first;
        both >> first;
        char c = 0;
        both >> c;
        std::cout << first << c << " at " << both.tellg() << '\n';
    }
    std::remove("streams.txt");
    std::ifstream none("nowhere.txt");
    std::cout << "open " << none.is_open() << '\n';
    std::ostringstream punctuated;
    punctuated.imbue(std::locale(std::locale::classic(), new Comma));
    punctuated << 1234567 << ' ' << std::fixed << std::setprecision(2) << 9876.5 << ' ' << std::boolalpha << true;
    std::cout << punctuated.str() << '\n';
    std::wostringstream wide;
    wide << L"wide " << 5 << L' ' << 1.5;
    std::wstring text = wide.str();
    std::cout << text.size() << ' ' << std::string(text.begin(), text.end()) << '\n';
    std::map<std::string, int> counts;
    std::istringstream words("the cat the dog a cat the end");
    while (words >> w) counts[w]++;
    for (const auto &pair : counts) std::cout << pair.first << '=' << pair.second << ' ';
    std::cout << '\n';
    std::vector<double> values{3.5, -1, 2.25};
    std::sort(values.begin(), values.end());
    for (double v : values) std::cout << v << ' ';
    std::cout << std::stoi("123") + std::stod("0.5") << ' ' << std::to_string(7) << '\n';
    try { (void)std::stoi("x"); } catch (const std::invalid_argument &e) { std::cout << "invalid " << e.what() << '\n'; }
    try { (void)std::stoi("99999999999"); } catch (const std::out_of_range &e) { std::cout << "range " << e.what() << '\n'; }
    std::string line;
    int total = 0;
    while (std::getline(std::cin, line)) { std::istringstream each(line); int n; while (each >> n) total += n; }
    std::cout << "stdin " << total << '\n';
    std::cerr << "to cerr\n";
    std::clog << "to clog" << std::endl;
    return 0;
}

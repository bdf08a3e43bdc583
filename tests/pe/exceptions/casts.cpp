/* dynamic_cast of Visual C++'s objects: up, down, across, to virtual bases, to void. */
extern "C" int printf(const char *, ...);
extern "C" {
extern const void *const type_info_vtable[3] __asm__("??_7type_info@@6B@");
const void *const type_info_vtable[3] = {};
}
void operator delete(void *) noexcept {}
void operator delete(void *, decltype(sizeof 0)) noexcept {}
struct A { virtual ~A() {} int a = 1; };
struct B { virtual ~B() {} int b = 2; };
struct C : A, B { int c = 3; };
struct V { virtual ~V() {} int v = 4; };
struct L : virtual V { int l = 5; };
struct R : virtual V { int r = 6; };
struct D : L, R, C { int d = 7; };
struct Other { virtual ~Other() {} };
template <typename T, typename S> static void cast(const char *what, S *s, void *whole) {
    T *t = dynamic_cast<T *>(s);
    if (t) printf("%s +%d\n", what, (int)((char *)t - (char *)whole)); else printf("%s no\n", what);
}
int main() {
    D d;
    C c;
    A a, *pa = &d;
    B *pb = &d, *pc = &c;
    V *pv = &d;
    cast<B>("A to B", pa, &d); cast<C>("A to C", pa, &d); cast<D>("A to D", pa, &d); cast<V>("A to V", pa, &d);
    cast<D>("B to D", pb, &d); cast<L>("B to L", pb, &d); cast<A>("B to A in C", pc, &c); cast<D>("B to D in C", pc, &c);
    cast<D>("V to D", pv, &d); cast<R>("V to R", pv, &d); cast<Other>("V to Other", pv, &d); cast<C>("A to C in A", &a, &a);
    printf("void %d %d\n", dynamic_cast<void *>(pv) == &d, dynamic_cast<void *>(pc) == &c);
    pa = nullptr;
    cast<B>("null", pa, nullptr);
    return 0;
}

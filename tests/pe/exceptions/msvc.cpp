/* C++ exceptions as Visual C++'s compiler has them, without its headers. */
extern "C" int printf(const char *, ...);
extern "C" int puts(const char *);
#ifdef _WIN32
extern "C" {
extern const void *const type_info_vtable[3] __asm__("??_7type_info@@6B@");
const void *const type_info_vtable[3] = {};
void __std_terminate() { puts("terminated"); }
}
void operator delete(void *) noexcept {}
void operator delete(void *, decltype(sizeof 0)) noexcept {}
#endif
static int live;
struct Counted {
    int n;
    Counted(int k) : n(k) { ++live; printf("  +%d\n", n); }
    Counted(const Counted &o) : n(o.n + 1000) { ++live; printf("  copy %d\n", n); }
    ~Counted() { --live; printf("  -%d\n", n); }
};
struct Base { virtual ~Base() {} virtual const char *name() const { return "Base"; } int b = 1; };
struct Side { virtual ~Side() {} int s = 2; };
struct Derived : Side, Base { const char *name() const override { return "Derived"; } int d = 3; };
struct Top { int t = 4; virtual ~Top() {} };
struct Left : virtual Top { int l = 5; };
struct Right : virtual Top { int r = 6; };
struct Diamond : Left, Right { int x = 7; Diamond() {} Diamond(const Diamond &o) : Top(o), Left(o), Right(o), x(o.x) {} };
static void throws(int kind) {
    Counted here(kind);
    static Derived d;
    switch (kind) {
    case 1: throw 17;
    case 2: throw Counted(50);
    case 3: throw Derived();
    case 4: throw &d;
    case 5: throw Diamond();
    case 6: throw 2.5;
    case 7: throw "text";
    case 8: throw (const char *)nullptr;
    }
}
static void caught(int kind) {
    Counted outer(kind + 100);
    try {
        Counted within(kind + 200);
        throws(kind);
        puts("nothing");
    } catch (int i) {
        printf("int %d\n", i);
    } catch (Counted c) {
        printf("counted %d\n", c.n);
    } catch (Base &b) {
        printf("base %s %d\n", b.name(), b.b);
    } catch (Base *b) {
        printf("pointer %s %d\n", b->name(), b->b);
    } catch (const Top &t) {
        printf("top %d\n", t.t);
    } catch (const char *s) {
        printf("chars %s\n", s ? s : "none");
    } catch (...) {
        puts("something");
    }
}
static int rethrows(int depth) {
    Counted here(depth);
    try {
        if (!depth) throw Counted(77);
        return rethrows(depth - 1);
    } catch (Counted &c) {
        printf("level %d: %d\n", depth, c.n);
        if (depth < 2) throw;
        return c.n;
    }
}
static int nested(int how) {
    try {
        Counted a(1);
        try {
            Counted b(2);
            throw 1;
        } catch (int i) {
            Counted c(3);
            printf("inner %d\n", i);
            try {
                Counted d(4);
                throw Counted(5);
            } catch (Counted &e) {
                printf("in handler %d\n", e.n);
                if (how == 1) throw 2.5;
                if (how == 2) throw;
            }
            puts("after");
            if (how == 3) throw;
            if (how == 4) return 44;
        }
        puts("on");
    } catch (double x) {
        printf("double %g\n", x);
        return 1;
    } catch (Counted &e) {
        printf("outer counted %d\n", e.n);
        return 2;
    } catch (int i) {
        printf("outer int %d\n", i);
        return 3;
    }
    return 0;
}
static int loop() {
    int sum = 0;
    for (int i = 0; i < 6; i++) {
        try {
            Counted here(i);
            if (i == 1) continue;
            if (i == 4) break;
            if (i & 1) throw i;
            sum += 10;
        } catch (int n) {
            sum += n;
            if (n == 3) continue;
        }
    }
    return sum;
}
struct Throws { Counted a, b; Throws() : a(11), b(12) { throw 13; } };
static int function_try(int x) try {
    Counted here(x);
    if (x) throw x;
    return 0;
} catch (int y) {
    return y + 1;
}
struct Guard { ~Guard() { try { throw 6; } catch (int n) { printf("  in destructor %d\n", n); } } };
static void guarded() {
    Guard g;
    Counted c(9);
    throw 21L;
}
int main() {
    for (int kind = 0; kind < 9; kind++) { caught(kind); if (live) printf("live %d\n", live); }
    printf("rethrown %d live %d\n", rethrows(4), live);
    for (int how = 0; how < 5; how++) { int r = nested(how); printf("nested %d: %d live %d\n", how, r, live); }
    { int r = loop(); printf("loop %d live %d\n", r, live); }
    try { Throws t; } catch (int n) { printf("constructor %d live %d\n", n, live); }
    { int a = function_try(0), b = function_try(3); printf("function try %d %d\n", a, b); }
    try { guarded(); } catch (long n) { printf("guarded %ld live %d\n", n, live); }
    for (int i = 0; i < 1200; i++) try { throw i; } catch (int n) { live += n == i ? 1 : 1000; }
    printf("many %d\n", live);
    return 5;
}

"""Rules of binding that are easy to miss, each against ld.so's dlopen in a fresh process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import rtld
from rtld.process.inprocess.load import Loading

Lib = Callable[..., str]
Both = Callable[..., tuple[str, str]]

GLOBAL = "import sys, ctypes\nfor p in sys.argv[2:]: CDLL(p, 2 | 0x100)\nlib = CDLL(sys.argv[1], 2)\nprint(lib.ask())"


def test_symbolic(lib: Lib, both: Both) -> None:
    other = lib("int name(void) { return 2; }", name="libother.so")
    source = "int name(void) { return 1; } int ask(void) { return name(); }"
    for flags in ((), ("-Wl,-Bsymbolic",), ("-Wl,-Bsymbolic-functions",)):
        theirs, ours = both(GLOBAL, lib(source, *flags), other)
        assert ours == theirs
        assert theirs.startswith("1" if flags else "2")


def test_protected_and_hidden(lib: Lib, both: Both) -> None:
    other = lib("int a(void) { return 2; } int b(void) { return 2; }", name="libother.so")
    path = lib(
        """
        __attribute__((visibility("protected"))) int a(void) { return 1; }
        __attribute__((visibility("hidden"))) int b(void) { return 1; }
        int (*pa)(void) = a, (*pb)(void) = b;
        int ask(void) { return a() * 1000 + b() * 100 + pa() * 10 + pb(); }
        """
    )
    theirs, ours = both(GLOBAL, path, other)
    assert ours == theirs == "1111\n[0]"


def test_unique(lib: Lib, both: Both) -> None:
    source = """
        template <int> struct Once { static int value; };
        template <int n> int Once<n>::value = NUMBER;
        extern "C" int ask() { return Once<0>::value; }
        extern "C" void set(int v) { Once<0>::value = v; }
    """
    one = lib(source, "-xc++", "-DNUMBER=1", name="libone.so")
    two = lib(source, "-xc++", "-DNUMBER=2", name="libtwo.so")
    theirs, ours = both(
        "import sys; a = CDLL(sys.argv[1]); b = CDLL(sys.argv[2]); a.set(7); print(a.ask(), b.ask())",
        one,
        two,
    )
    assert ours == theirs == "7 7\n[0]"


def test_filters(lib: Lib, both: Both, tmp_path: Path) -> None:
    filtee = lib("int name(void) { return 5; }", "-Wl,-soname,libfiltee.so", name="libfiltee.so")
    (tmp_path / "libfiltee.so").write_bytes(Path(filtee).read_bytes())
    for option in ("-Wl,-F,libfiltee.so", "-Wl,-f,libfiltee.so", "-Wl,-f,libnothere.so"):
        made = lib(
            "int name(void) { return 1; }",
            option,
            "-Wl,-soname,libfront.so",
            "-Wl,-rpath,$ORIGIN",
            name="libfront.so",
        )
        (tmp_path / "libfront.so").write_bytes(Path(made).read_bytes())
        user = lib(
            "int name(void); int ask(void) { return name(); }",
            made,
            "-Wl,-rpath,$ORIGIN",
            option.replace("libfiltee", "libfiltee"),
        )
        (tmp_path / "libuser.so").write_bytes(Path(user).read_bytes())
        theirs, ours = both(GLOBAL, str(tmp_path / "libuser.so"))
        assert ours == theirs


def test_versions(lib: Lib, both: Both, tmp_path: Path) -> None:
    script = tmp_path / "v.map"
    script.write_text("V1 { global: name; local: *; }; V2 { global: name; } V1;")
    engine = lib(
        """
        int old(void) { return 1; }
        int new(void) { return 2; }
        __asm__(".symver old,name@V1");
        __asm__(".symver new,name@@V2");
        """,
        f"-Wl,--version-script={script}", "-Wl,-soname,libengine.so", name="libengine.so",
    )  # fmt: skip
    rpath = f"-Wl,-rpath,{Path(engine).parent}"
    path = lib(
        '__asm__(".symver was,name@V1"); int was(void); int name(void); int ask(void) { return name() * 10 + was(); }',
        engine, rpath,
    )  # fmt: skip
    theirs, ours = both(GLOBAL, path)
    assert ours == theirs == "21\n[0]"


def test_relr_and_text_relocations(lib: Lib, both: Both) -> None:
    table = (
        "int f(void) { return 3; } int (*table[64])(void) = {"
        + "f," * 64
        + "}; int ask(void) { return table[63](); }"
    )
    for flags in (("-Wl,-z,pack-relative-relocs",), ()):
        theirs, ours = both(GLOBAL, lib(table, *flags))
        assert ours == theirs == "3\n[0]"


def test_exceptions_between_copies(lib: Lib) -> None:
    import rtld

    path = lib(
        """
        #include <stdexcept>
        extern "C" void raise_it(int) { throw std::runtime_error("x"); }
        extern "C" int call(void (*f)(int)) { try { f(1); } catch (...) { return 9; } return 0; }
        """,
        "-xc++",
    )
    with rtld.Namespace() as one, rtld.Namespace() as two:
        a, b = one.dlopen(path), two.dlopen(path)
        import ctypes

        assert a.base != b.base
        assert b.call(ctypes.c_void_p(a.address("raise_it"))) == 9


def test_many_versions_and_ifuncs(lib: Lib, both: Both, tmp_path: Path) -> None:
    """More of both than the short way has room for at first."""
    count = 200
    chosen = "".join(
        f"static int c{n}(void) {{ return {n}; }} static void *r{n}(void) {{ return c{n}; }}"
        f'int f{n}(void) __attribute__((ifunc("r{n}")));'
        for n in range(count)
    )
    versions = tmp_path / "versions"
    versions.write_text("".join(f"V{n} {{ global: f{n}; }};\n" for n in range(count)))
    inner = lib(chosen, f"-Wl,--version-script={versions}", name="libinner.so")
    declared = "".join(f"int f{n}(void);" for n in range(count))
    table = ",".join(f"f{n}" for n in range(count))
    outer = lib(
        f"{declared} int (*table[])(void) = {{ {table} }};"
        f"int ask(void) {{ int s = 0; for (int i = 0; i < {count}; i++) s += table[i]() * (i + 1); return s; }}",
        inner,
        f"-Wl,-rpath,{os.path.dirname(inner)}",
        name="libouter.so",
    )
    theirs, ours = both(GLOBAL, outer)
    assert ours == theirs == f"{sum(n * (n + 1) for n in range(count))}\n[0]"
    namespace = rtld.Namespace()
    loading = Loading(namespace._space, rtld.RTLD_NOW)
    loading.find(outer, namespace._space.ns.main)
    loading.map()
    loading.relocate()
    assert loading.link is not None
    loading.undo()

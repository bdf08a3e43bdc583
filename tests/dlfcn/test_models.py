"""Scopes of other systems, and the flags only they have. Expectations are read off their documentation."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rtld
from rtld.dlfcn import (
    RTLD_DEEPBIND,
    RTLD_FIRST,
    RTLD_GLOBAL,
    RTLD_GROUP,
    RTLD_LAZY,
    RTLD_LAZYLOAD,
    RTLD_NOSHARE,
    RTLD_NOW,
    RTLD_WORLD,
)
from rtld.elf import types as t
from rtld.elf.file import ElfFile

Lib = Callable[..., str]
SELF, PRELOAD, GLOBAL, NEED = 1, 2, 3, 4


@pytest.fixture(scope="session")
def files(lib: Lib) -> dict[str, str]:
    """Libraries that define ``name``: by itself, as a need, preloaded, opened RTLD_GLOBAL; and who asks for it."""
    define = "int name(void) { return %d; } int only%d(void) { return %d; }"
    need = lib(define % (NEED, NEED, NEED), "-Wl,-soname,libneed.so", name="libneed.so")
    link = ("-Wl,--no-as-needed", need, f"-Wl,-rpath,{Path(need).parent}", "-Wl,-z,lazy")
    return {
        "need": need,
        "directory": str(Path(need).parent),
        "preload": lib(define % (PRELOAD, PRELOAD, PRELOAD), name="libpreload.so"),
        "global": lib(define % (GLOBAL, GLOBAL, GLOBAL), name="libglobal.so"),
        "plain": lib("int name(void); int ask(void) { return name(); }", *link, name="libplain.so"),
        "own": lib(f"int name(void) {{ return {SELF}; }} int ask(void) {{ return name(); }}", *link, name="libown.so"),
        "weak": lib(
            f"__attribute__((weak)) int name(void) {{ return {SELF}; }} int ask(void) {{ return name(); }}",
            *link, name="libweak.so",
        ),
    }  # fmt: skip


# fmt: off
CASES = [
    # model      library  flags                      others            who answers
    ("glibc",    "own",   0,                         "",               SELF),
    ("glibc",    "own",   0,                         "global",         GLOBAL),
    ("glibc",    "own",   0,                         "preload global", PRELOAD),
    ("glibc",    "own",   RTLD_DEEPBIND,             "preload global", SELF),
    ("glibc",    "plain", 0,                         "",               NEED),
    ("glibc",    "weak",  0,                         "",               SELF),
    ("musl",     "own",   RTLD_DEEPBIND,             "global",         GLOBAL),
    ("freebsd",  "weak",  0,                         "",               NEED),
    ("freebsd",  "own",   0,                         "global",         GLOBAL),
    ("bionic",   "own",   0,                         "global",         SELF),
    ("bionic",   "plain", 0,                         "global",         NEED),
    ("bionic",   "plain", 0,                         "preload",        PRELOAD),
    ("qnx-doc",  "own",   0,                         "preload global", SELF),
    ("qnx-doc",  "plain", 0,                         "preload global", PRELOAD),
    ("qnx-doc",  "plain", 0,                         "global",         GLOBAL),
    ("qnx-doc",  "plain", 0,                         "",               NEED),
    ("qnx-doc",  "plain", RTLD_GROUP,                "global",         NEED),
    ("qnx-doc",  "plain", RTLD_GROUP | RTLD_WORLD,   "global",         GLOBAL),
    ("qnx-doc",  "own",   RTLD_WORLD,                "global",         GLOBAL),
    ("qnx-doc",  "weak",  0,                         "",               NEED),
    ("qnx",      "own",   0,                         "preload global", SELF),
    ("qnx",      "plain", 0,                         "global",         GLOBAL),
    ("qnx",      "plain", RTLD_GROUP,                "global",         NEED),
    ("qnx",      "plain", RTLD_GROUP,                "preload global", PRELOAD),
    ("qnx",      "plain", RTLD_WORLD,                "global",         GLOBAL),
]
# fmt: on


@pytest.mark.parametrize(("model", "library", "flags", "others", "answer"), CASES)
def test_who_answers(
    files: dict[str, str], model: str, library: str, flags: int, others: str, answer: int
) -> None:
    preload = [files["preload"]] if "preload" in others else []
    # QNX has no RUNPATH, Android no RPATH.
    with rtld.Namespace(model=model, preload=preload, library_path=files["directory"]) as ns:
        if "global" in others:
            ns.dlopen(files["global"], RTLD_NOW | RTLD_GLOBAL)
        assert ns.dlopen(files[library], RTLD_NOW | flags).ask() == answer


def test_world_alone_loads_no_needs(files: dict[str, str]) -> None:
    with rtld.Namespace(model="qnx") as ns:
        ns.dlopen(files["global"], RTLD_NOW | RTLD_GLOBAL)
        ns.dlopen(files["plain"], RTLD_NOW | RTLD_WORLD)
        assert [Path(m.path).name for m in ns.modules] == ["libglobal.so", "libplain.so"]
        with pytest.raises(rtld.UnresolvedSymbol):
            ns.dlopen(files["weak"], RTLD_NOW | RTLD_WORLD)["only4"]


def test_promotion_to_global(files: dict[str, str]) -> None:
    with rtld.Namespace() as ns:
        ns.dlopen(files["global"])
        with ns.dlopen(files["own"]) as library:
            assert library.ask() == SELF
        ns.dlopen(files["global"], rtld.RTLD_NOLOAD | RTLD_NOW | RTLD_GLOBAL)
        assert ns.dlopen(files["own"]).ask() == GLOBAL


def test_no_share(files: dict[str, str]) -> None:
    with rtld.Namespace(model="qnx") as ns:
        first = ns.dlopen(files["need"])
        again = ns.dlopen(files["need"])
        other = ns.dlopen(files["need"], RTLD_NOW | RTLD_GROUP | RTLD_NOSHARE)
        assert first.base == again.base != other.base
        assert other.name() == NEED
        with pytest.raises(ValueError, match="NOSHARE"):
            ns.dlopen(files["need"], RTLD_NOSHARE)


def test_first(files: dict[str, str]) -> None:
    with rtld.Namespace() as ns:
        assert ns.dlopen(files["plain"]).only4() == 4
        with pytest.raises(rtld.SymbolNotFound):
            ns.dlopen(files["plain"], RTLD_NOW | RTLD_FIRST).only4  # noqa: B018


def test_lazy_loading(files: dict[str, str]) -> None:
    with rtld.Namespace() as ns:
        library = ns.dlopen(files["plain"], RTLD_LAZYLOAD | RTLD_LAZY)
        assert [Path(m.path).name for m in ns.modules] == ["libplain.so"]
        assert library.ask() == NEED
        assert [Path(m.path).name for m in ns.modules] == ["libplain.so", "libneed.so"]
        assert library.ask() == NEED
        assert library.why_loaded() == ["opened 1 time"]
        library.close()
        assert not ns.modules


def test_lazy_loading_by_look_up(files: dict[str, str]) -> None:
    with rtld.Namespace() as ns:
        library = ns.dlopen(files["plain"], RTLD_LAZYLOAD)
        assert library.only4() == 4
        assert len(ns.modules) == 2


def test_unknown() -> None:
    with pytest.raises(ValueError, match="model"):
        rtld.Namespace(model="plan9")
    with pytest.raises(ValueError, match="flags"):
        rtld.dlopen("libz.so.1", 1 << 20)


def names(ns: rtld.Namespace) -> list[str]:
    return [Path(m.path).name for m in ns.modules]


ALL = ["glibc", "musl", "freebsd", "bionic", "qnx-doc", "qnx"]
ANSWERING = {"freebsd": GLOBAL, "bionic": GLOBAL, "glibc": SELF, "musl": SELF, "qnx-doc": SELF, "qnx": SELF}  # fmt: skip


@pytest.mark.parametrize("model", ALL)
def test_df_1_global(files: dict[str, str], lib: Lib, model: str) -> None:
    """DF_1_GLOBAL makes global without RTLD_GLOBAL on FreeBSD (rtld.c, process_z) and Android (the global group)."""
    path = lib(f"int name(void) {{ return {GLOBAL}; }}", "-Wl,-z,global", name="libalways.so")
    with rtld.Namespace(model=model, library_path=files["directory"]) as ns:
        ns.dlopen(path)
        assert ns.dlopen(files["own"]).ask() == ANSWERING[model]


@pytest.mark.parametrize("model", ["qnx-doc", "qnx"])
def test_lazy_and_world(lib: Lib, model: str) -> None:
    """QNX SDP, "Lazy binding", RTLD_LAZY: what is undefined is looked for again among what was opened RTLD_GLOBAL later."""
    primary = lib(
        "int second(void); int first(void) { return second(); } int other(void) { return 1; }",
        "-Wl,-z,lazy", name="libprimary.so",
    )  # fmt: skip
    secondary = lib("int second(void) { return 2; }", name="libsecondary.so")
    with rtld.Namespace(model=model) as ns:
        with pytest.raises(rtld.UnresolvedSymbol):
            ns.dlopen(primary, RTLD_NOW | RTLD_WORLD)
        library = ns.dlopen(primary, RTLD_LAZY | RTLD_WORLD)
        assert library.other() == 1
        ns.dlopen(secondary, RTLD_NOW | RTLD_GLOBAL)
        assert library.first() == 2


@pytest.mark.parametrize("model", ALL)
def test_weak_before_strong_by_handle(files: dict[str, str], model: str) -> None:
    """dlsym of a handle prefers what is not weak where look-up does."""
    with rtld.Namespace(model=model, library_path=files["directory"]) as ns:
        strong = model in ("freebsd", "qnx-doc", "qnx")
        assert ns.dlopen(files["weak"]).name() == (NEED if strong else SELF)


def test_handle_has_preloads(files: dict[str, str]) -> None:
    """As shipped, QNX finds LD_PRELOAD's symbols by the handle of any library."""
    for model, there in (("qnx", True), ("qnx-doc", False), ("glibc", False)):
        options = {"preload": [files["preload"]], "library_path": files["directory"]}
        with rtld.Namespace(model=model, **options) as ns:  # type: ignore[arg-type]
            assert hasattr(ns.dlopen(files["own"]), "only2") is there


@pytest.mark.parametrize("model", ALL)
def test_search(files: dict[str, str], model: str) -> None:
    """The needs of `plain` are where its RUNPATH says: QNX has none."""
    with rtld.Namespace(model=model) as ns:
        if model.startswith("qnx"):
            with pytest.raises(rtld.NotFound) as error:
                ns.dlopen(files["plain"])
            assert error.value.name == "libneed.so"
            assert not ns.modules
        else:
            assert ns.dlopen(files["plain"]).ask() == NEED


def test_system_path(files: dict[str, str]) -> None:
    for model in ALL[1:]:
        with rtld.Namespace(model=model, system_path=files["directory"]) as ns:
            assert ns.dlopen("libneed.so").name() == NEED
            # libc's family is the host's, wherever that has it.
            assert ns.dlopen("libm.so.6").path.endswith("libm.so.6")


@pytest.mark.parametrize("model", ALL)
def test_errors(lib: Lib, cc: Callable[..., Path], files: dict[str, str], model: str) -> None:
    """The same exceptions in every model, and nothing is left."""
    absent = lib("extern int absent; int f(void) { return absent; }", name="libabsent.so")
    program = str(cc("int main(void) { return 0; }", "fixed", "-no-pie"))
    with rtld.Namespace(model=model) as ns:
        for source, error in (
            ("libnowhere.so", rtld.NotFound),
            ("/nowhere/libx.so", rtld.NotFound),
            (absent, rtld.UnresolvedSymbol),
            (program, rtld.RtldError),
            (b"\x7fELF", rtld.FormatError),
        ):
            with pytest.raises(error):
                ns.dlopen(source)
            assert not ns.modules


def test_versions_in_this_process(lib: Lib, tmp_path: Path) -> None:
    """A version that is not there: glibc and FreeBSD refuse, others take what they take (docs/models.md)."""
    script = tmp_path / "v.map"
    script.write_text("V1 { global: f; };")
    there = lib("int f(void) { return 1; }", f"-Wl,--version-script={script}", "-Wl,-soname,libver.so", name="libver.so")  # fmt: skip
    user = lib("int f(void); int ask(void) { return f(); }", there, name="libversuser.so")
    script.write_text("V2 { global: g; };")
    other = lib("int f(void) { return 2; } int g(void) { return 3; }", f"-Wl,--version-script={script}", "-Wl,-soname,libver.so", name="libver.so")  # fmt: skip
    for model in ALL:
        with rtld.Namespace(model=model, library_path=str(Path(other).parent)) as ns:
            if model in ("glibc", "freebsd"):
                with pytest.raises(rtld.VersionMismatch) as error:
                    ns.dlopen(user)
                assert error.value.version == "V1"
                assert not ns.modules
            else:
                assert ns.dlopen(user).ask() == 2


def test_lazy_loading_one_by_one(lib: Lib) -> None:
    """Of two libraries that are needed the second is not opened while the first has what is called; needs of needs wait, too."""
    deep = lib("int deep(void) { return 3; }", "-Wl,-soname,libdeep.so", name="libdeep.so")
    make = ("-Wl,--no-as-needed", "-Wl,-z,lazy")
    one = lib(
        "int deep(void); int one(void) { return 1; } int further(void) { return deep(); }",
        deep, *make, "-Wl,-soname,libone.so", name="libone.so",
    )  # fmt: skip
    two = lib("int two(void) { return 2; }", "-Wl,-soname,libtwo.so", name="libtwo.so")
    user = lib(
        "int one(void); int two(void); int further(void);"
        "int call1(void) { return one(); } int call2(void) { return two(); } int call3(void) { return further(); }",
        one, two, *make, name="liblazyuser.so",
    )  # fmt: skip
    path = ":".join(str(Path(p).parent) for p in (deep, one, two))
    with rtld.Namespace(library_path=path) as ns:
        library = ns.dlopen(user, RTLD_LAZYLOAD | RTLD_LAZY)
        assert names(ns) == ["liblazyuser.so"]
        assert library.call1() == 1
        assert names(ns) == ["liblazyuser.so", "libone.so"]
        assert library.call3() == 3
        assert names(ns) == ["liblazyuser.so", "libone.so", "libdeep.so"]
        assert library.call2() == 2
        assert names(ns) == ["liblazyuser.so", "libone.so", "libdeep.so", "libtwo.so"]
        assert (library.call1(), library.call2(), library.call3()) == (1, 2, 3)
        library.close()
        assert not ns.modules


def mark_lazy(path: str, name: str) -> bytes:
    """The library with DT_POSFLAG_1 (DF_P1_LAZYLOAD) before the DT_NEEDED of *name*; GNU ld leaves room behind the last entry."""
    data = bytearray(Path(path).read_bytes())
    file = ElfFile(bytes(data), path)
    segment = next(s for s in file.segments if s.type == t.PT_DYNAMIC)
    entries = list(
        struct.iter_unpack("<qQ", data[segment.offset : segment.offset + segment.filesz])
    )
    used = next(i for i, (tag, _) in enumerate(entries) if tag == t.DT_NULL)
    assert len(entries) > used + 2
    place = next(
        i for i, (tag, value) in enumerate(entries)
        if tag == t.DT_NEEDED and file.string(value, "DT_NEEDED") == name
    )  # fmt: skip
    entries.insert(place, (t.DT_POSFLAG_1, t.DF_P1_LAZYLOAD))
    entries.pop()
    data[segment.offset : segment.offset + segment.filesz] = b"".join(
        [struct.pack("<qQ", *e) for e in entries]
    )
    return bytes(data)


@pytest.mark.parametrize("model", ["qnx-doc", "qnx", "glibc"])
def test_marked_for_lazy_loading(lib: Lib, tmp_path: Path, model: str) -> None:
    """-z lazyload: the marked library is opened by the first call of its function, the other one at once."""
    marked = lib("int later(void) { return 2; }", "-Wl,-soname,libmarked.so", name="libmarked.so")
    soon = lib("int soon(void) { return 1; }", "-Wl,-soname,libsoon.so", name="libsoon.so")
    source = "int later(void); int soon(void); int call1(void) { return soon(); } int call2(void) { return later(); }"
    user = lib(source, marked, soon, "-Wl,--no-as-needed", "-Wl,-z,lazy", name="libmarks.so")
    path = tmp_path / "libmarks.so"
    path.write_bytes(mark_lazy(user, "libmarked.so"))
    directories = ":".join(str(Path(p).parent) for p in (marked, soon))
    with rtld.Namespace(model=model, library_path=directories) as ns:
        library = ns.dlopen(path, RTLD_LAZY)
        before = ["libmarks.so", "libsoon.so"]
        if model == "glibc":
            before.insert(1, "libmarked.so")
        assert names(ns) == before
        assert library.call1() == 1
        assert names(ns) == before
        assert library.call2() == 2
        assert "libmarked.so" in names(ns)
        assert library.call2() == 2
        library.close()
        assert not ns.modules
        # Everything now: it cannot wait.
        ns.dlopen(path, RTLD_NOW)
        assert "libmarked.so" in names(ns)


def test_marked_library_that_is_gone(lib: Lib, tmp_path: Path) -> None:
    """The first call finds no library: the process ends as ld.so's would for a symbol, and dlsym raises."""
    marked = lib("int later(void) { return 2; }", "-Wl,-soname,libaway.so", name="libaway.so")
    user = lib("int later(void); int call2(void) { return later(); }", marked, "-Wl,-z,lazy", name="libmarks2.so")  # fmt: skip
    path = tmp_path / "libmarks2.so"
    path.write_bytes(mark_lazy(user, "libaway.so"))
    with rtld.Namespace(model="qnx") as ns:
        library = ns.dlopen(path, RTLD_LAZY)
        for _ in range(2):
            with pytest.raises(rtld.NotFound) as error:
                library.address("later")
            assert error.value.name == "libaway.so"
    script = (
        "import sys, rtld\nrtld.Namespace(model='qnx').dlopen(sys.argv[1], rtld.RTLD_LAZY).call2()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 127
    assert "libaway.so: cannot open shared object file" in done.stderr

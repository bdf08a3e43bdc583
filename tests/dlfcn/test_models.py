"""Scopes of other systems, and the flags only they have. Expectations are read off their documentation."""

from __future__ import annotations

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

"""Hooks and interposition in guests: the same class as for libraries of this process, on every CPU."""

# ruff: noqa: ARG002 - hooks are given more than these tests look at

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtld
from dlfcn.foreign import sysroots
from rtld.dlfcn.foreign.namespace import ForeignNamespace
from rtld.process.hooks import Call, Hooks

CC = Callable[..., Path]

USER = """
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
struct wide { int a[5]; };
double scale(int a, double b, int c, int d, int e, int f, int g, int h, int i)
{ return a * b + c + d + e + f + g + h + i; }
struct wide widen(int a) { struct wide w = {{a, a + 1, a + 2, a + 3, a + 4}}; return w; }
int twice(int n) { return 2 * n; }
int after(int n) { return twice(n + 1); }
int down(int n);
int below(int n) { volatile int found = down(n - 1); return found + 1; }
int down(int n) { return n ? below(n) : 100; }
int hop(int n);
int skip(int n) { return hop(n); }
int hop(int n) { return n ? skip(n - 1) : 5; }
int hopping(int n) { return hop(n) + 1; }
static jmp_buf where;
void jump(int n) { if (n > 1) longjmp(where, n); }
int caught(int n) { int m = setjmp(where); if (m) return m; jump(n); return -1; }
long now(void) { return time(0); }
double scaled(int n) { return scale(n, 1.5, 1, 2, 3, 4, 5, 6, 7); }
int word(void) { return getenv("RTLD_TEST") != 0; }
int sum(int n) { struct wide w = widen(n); return w.a[0] + w.a[4]; }
int tail(int n) { return after(n); }
int deep(int n) { return down(n); }
char *grab(void) { char *p = malloc(30); if (p) strcpy(p, "grabbed"); return p; }
"""
FLAGS = (
    "-O1",
    "-shared",
    "-fPIC",
    "-fno-ipa-cp",
    "-fno-ipa-icf",
    "-fno-inline",
    "-fno-ipa-pure-const",
)


class Audit(Hooks):
    def __init__(self, *watched: str) -> None:
        self.watched = watched
        self.seen: list[Any] = []

    def objsearch(self, name: str, requester: object) -> str | None:
        self.seen.append(("search", name.rpartition("/")[2]))
        return name.replace("libalias.so", "libm.so.6")

    def activity(self, state: str) -> None:
        self.seen.append(("activity", state))

    def objopen(self, module: Any) -> None:
        self.seen.append(("open", os.path.basename(module.path)))

    def objclose(self, module: Any) -> None:
        self.seen.append(("close", os.path.basename(module.path)))

    def symbind(self, symbol: str, referrer: object, definer: Any, address: int) -> Any:
        self.seen.append(("bind", symbol))
        if symbol == "time":
            return ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(lambda _p: 99)
        return address

    def watches(self, symbol: str, referrer: object, definer: object) -> bool:
        return symbol in self.watched

    def pltenter(self, call: Call) -> bool:
        first = call.integers[0] if call.symbol != "widen" else 0
        self.seen.append(
            ("enter", call.symbol, first, call.floats[0] if len(call.floats) else None)
        )
        if call.symbol == "scale" and first == 2:
            call.integers[0] = 10
        return True

    def pltexit(self, call: Call) -> None:
        if call.symbol == "scale":
            self.seen.append(("exit", "scale", call.float_result))
            call.float_result = call.float_result + 0.5
            return
        self.seen.append(("exit", call.symbol, call.result & 0xFFFFFFFF))
        if call.symbol == "getenv":
            call.result = 1


@pytest.fixture
def root(cpu: str, require: Callable[[str], None]) -> str:
    found = sysroots.debian_or_cross(cpu)
    if found is None:
        require("a sysroot")
    assert found is not None
    return found


def opened(root: str, cpu: str, cc: CC, audit: Hooks) -> Any:
    namespace = ForeignNamespace(root, seconds=60, hooks=audit)
    return namespace, namespace.dlopen(cc(USER, "libtest.so", *FLAGS, arch=cpu))


def test_all_hooks(root: str, cpu: str, cc: CC) -> None:
    audit = Audit("scale", "getenv")
    namespace, library = opened(root, cpu, cc, audit)
    library.scaled.restype = ctypes.c_double
    assert library.scaled(4) == 4 * 1.5 + 28 + 0.5
    assert library.scaled(2) == 10 * 1.5 + 28 + 0.5
    assert library.now() == 99
    assert library.word() == 1
    assert namespace.dlopen("libalias.so").path.rpartition("/")[2].startswith("libm")
    namespace.close()
    assert ("search", "libalias.so") in audit.seen
    assert ("open", "libtest.so") in audit.seen
    assert ("bind", "scale") in audit.seen
    assert ("exit", "scale", 34.0) in audit.seen
    entered = [row for row in audit.seen if row[:2] == ("enter", "scale")]
    assert [row[2] for row in entered] == [4, 2]
    assert entered[0][3] == (None if cpu == "i386" else 1.5)
    # The list changes in between, and only there.
    told = [row for row in audit.seen if row[0] in ("activity", "open", "close")]
    assert told[:3] == [("activity", "add"), ("open", "libtest.so"), ("activity", "consistent")]
    assert told[-3:] == [
        ("activity", "delete"),
        ("close", "libtest.so"),
        ("activity", "consistent"),
    ]


def test_results_of_calls_of_every_shape(root: str, cpu: str, cc: CC) -> None:
    audit = Audit("widen", "twice", "after", "down", "jump", "hop", "skip")
    namespace, library = opened(root, cpu, cc, audit)
    with namespace:
        audit.seen.clear()
        assert library.sum(3) == 10  # a structure in memory: on i386 the callee pops its address
        assert [row[:2] for row in audit.seen] == [("enter", "widen"), ("exit", "widen")]
        audit.seen.clear()
        assert library.tail(5) == 12  # jumps instead of calls: they return together, the last first
        calls = [(row[0], row[1], row[2]) for row in audit.seen]
        assert calls == [
            ("enter", "after", 5),
            ("enter", "twice", 6),
            ("exit", "twice", 12),
            ("exit", "after", 12),
        ]
        audit.seen.clear()
        assert library.deep(5) == 105
        assert [row[2] for row in audit.seen if row[0] == "exit"] == list(range(100, 106))
        audit.seen.clear()
        assert (
            library.hopping(4) == 6
        )  # through the same two slots again and again, by jumps where the CPU allows that
        hops: list[Any] = [row[:2] for row in audit.seen]
        assert hops[:9] == [("enter", name) for name in ("hop", "skip") * 4] + [("enter", "hop")]
        assert hops[9:] == [("exit", name) for _, name in reversed(hops[:9])]
        audit.seen.clear()
        for n in (7, 8, 1, 9):
            assert library.caught(n) == (n if n > 1 else -1)  # what longjmp has left never returns
        assert [row[0] for row in audit.seen] == ["enter", "enter", "enter", "exit", "enter"]


def test_calls_by_a_hook(root: str, cpu: str, cc: CC) -> None:
    """Hooks may call the guest, before the function and after it."""

    class Calls(Hooks):
        def watches(self, symbol: str, referrer: object, definer: object) -> bool:
            return symbol == "twice"

        def pltenter(self, call: Call) -> bool:
            call.data = library.down(call.integers[0])
            return True

        def pltexit(self, call: Call) -> None:
            call.result = call.result + call.data + library.down(1)

    namespace, library = opened(root, cpu, cc, Calls())
    with namespace:
        for n in range(3):
            assert library.after(n) == 2 * (n + 1) + 100 + n + 1 + 101


def test_another_function_in_its_place(root: str, cpu: str, cc: CC) -> None:
    class Other(Hooks):
        def watches(self, symbol: str, referrer: object, definer: object) -> bool:
            return symbol == "twice"

        def pltenter(self, call: Call) -> None:
            call.target = library.down.address

    namespace, library = opened(root, cpu, cc, Other())
    with namespace:
        assert library.after(4) == 105


def test_what_a_hook_raises(root: str, cpu: str, cc: CC) -> None:
    class Fails(Hooks):
        opens = True

        def objopen(self, module: Any) -> None:
            if self.opens:
                raise RuntimeError("no such library here")

        def watches(self, symbol: str, referrer: object, definer: object) -> bool:
            return symbol == "twice"

        def pltenter(self, call: Call) -> bool:
            if call.integers[0] == 1:
                raise KeyError("entered")
            return True

        def pltexit(self, call: Call) -> None:
            raise LookupError("left")

    fails = Fails()
    with ForeignNamespace(root, seconds=60, hooks=fails) as namespace:
        path = cc(USER, "libtest.so", *FLAGS, arch=cpu)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no such library"):
                namespace.dlopen(path)
            assert not namespace.modules
        fails.opens = False
        library = namespace.dlopen(path)
        for _ in range(2):
            with pytest.raises(KeyError, match="entered"):
                library.after(0)
            with pytest.raises(LookupError, match="left"):
                library.after(5)
        assert library.down(1) == 101


def test_interpose_and_undo(machine: ForeignNamespace, cpu: str, cc: CC) -> None:
    library = machine.dlopen(cc(USER, "libtest.so", *FLAGS, arch=cpu))
    fake = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(lambda _p: 1234)
    before = library.now()
    undo = library.interpose("time", fake)
    assert library.now() == 1234
    undo()
    assert abs(library.now() - before) < 60
    library.cdef("long time(long *); struct wide { int a[5]; }; struct wide widen(int);")
    undo = library.interpose("time", lambda _p: 4321)  # declared: its types are known
    assert library.now() == 4321
    undo()
    wide = library.types["wide"]
    undo = library.interpose("widen", lambda n: wide((n, 0, 0, 0, 10 * n)))
    assert library.sum(4) == 44
    undo()
    assert library.sum(4) == 12
    buffer = library.alloc(100)
    sizes = []

    def malloc(size: int) -> int:
        sizes.append(size)
        return buffer.address

    library.grab.restype = ctypes.c_char_p
    undo = library.interpose("malloc", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(malloc))
    assert library.grab() == b"grabbed"
    assert sizes == [30]
    assert library.string(buffer) == b"grabbed"
    undo()
    undo = library.interpose("twice", library.down)  # a function of the guest
    assert library.after(3) == 104
    library.close()
    undo()  # it is too late, and does nothing
    with pytest.raises(rtld.UnresolvedSymbol):
        machine.dlopen(cc(USER, "libtest.so", *FLAGS, arch=cpu)).interpose("fork", fake)
    with pytest.raises(TypeError, match="CFUNCTYPE"):
        machine.dlopen(cc(USER, "libtest.so", *FLAGS, arch=cpu)).interpose("time", len)


THROWS = """
extern "C" {
__attribute__((noinline)) int risky(int n) { if (n > 2) throw n; return n; }
int careful(int n) { try { return risky(n); } catch (int) { return -1; } }
}
"""


def test_exceptions_pass_watched_calls(
    debian: ForeignNamespace, cpu: str, tmp_path: Path, require: Callable[[str], None]
) -> None:
    if not shutil.which("clang-14"):
        require("clang-14")
    audit = Audit("risky")
    path = sysroots.cxx_library(debian, cpu, THROWS, tmp_path)
    with ForeignNamespace(debian.sysroot, seconds=60, hooks=audit) as namespace:
        library = namespace.dlopen(path)
        audit.seen.clear()
        assert [library.careful(n) for n in (1, 3, 2, 5)] == [1, -1, 2, -1]
        calls = [row[0] for row in audit.seen]
        assert calls == ["enter", "exit", "enter", "enter", "exit", "enter"]


def test_with_musl(cc: CC, require: Callable[[str], None]) -> None:
    found = sysroots.debian("x86_64")
    if found is None:
        require("Debian's package archive")
    audit = Audit("scale", "getenv", "twice", "after")
    path = cc(USER, "libtest.so", *FLAGS, arch="x86_64", libc="musl")
    with ForeignNamespace(str(found), model="musl", seconds=60, hooks=audit) as namespace:
        library = namespace.dlopen(path)
        library.scaled.restype = ctypes.c_double
        assert library.scaled(2) == 10 * 1.5 + 28 + 0.5
        assert library.now() == 99
        assert library.word() == 1
        audit.seen.clear()
        assert library.tail(5) == 12
        calls = [row[:2] for row in audit.seen]
        assert calls == [
            ("enter", "after"),
            ("enter", "twice"),
            ("exit", "twice"),
            ("exit", "after"),
        ]

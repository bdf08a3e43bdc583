"""Hooks and interposition: what is seen, what can be changed, what is undone."""

# ruff: noqa: ARG002 - hooks are given more than these tests look at

from __future__ import annotations

import ctypes
import io
import os
import re
from collections.abc import Callable
from typing import Any

import pytest

import rtld
from rtld.dlfcn import Call, Hooks
from rtld.events import Trace
from rtld.process.calltrace import CallTrace

Lib = Callable[..., str]

USER = """
#include <stdlib.h>
#include <time.h>
double scale(int a, double b, long c, long d, long e, long f, long g, long h, long i) { return a * b + c + d + e + f + g + h + i; }
long now(void) { return time(0); }
double scaled(int n) { return scale(n, 1.5, 1, 2, 3, 4, 5, 6, 7); }
int word(void) { return getenv("RTLD_TEST") != 0; }
"""


def test_interpose_and_undo(lib: Lib) -> None:
    library = rtld.dlopen(lib(USER, "-fno-ipa-cp"))
    fake = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(lambda _p: 1234)
    before = library.now()
    undo = library.interpose("time", fake)
    assert library.now() == 1234
    undo()
    assert abs(library.now() - before) < 60
    library.cdef("long time(long *);")
    undo = library.interpose("time", lambda _p: 4321)  # declared: its types are known
    assert library.now() == 4321
    undo()
    with pytest.raises(rtld.UnresolvedSymbol):
        library.interpose("fork", fake)
    library.close()


class Audit(Hooks):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def objsearch(self, name: str, requester: object) -> str | None:
        self.seen.append(("search", name.rpartition("/")[2]))
        return name.replace("libalias.so", "libz.so.1")

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
        return symbol in ("scale", "getenv")

    def pltenter(self, call: Call) -> bool:
        self.seen.append(
            (
                "enter",
                call.symbol,
                call.integers[0] if call.symbol == "scale" else 0,
                call.floats[0],
            )
        )
        if call.symbol == "scale" and call.integers[0] == 2:
            call.integers[0] = 10
            call.floats[0] = 2.0
        return True

    def pltexit(self, call: Call) -> None:
        if call.symbol == "scale":
            self.seen.append(("exit", call.float_result))
            call.float_result = call.float_result + 0.5
        else:
            call.result = 1


def test_all_hooks(lib: Lib) -> None:
    audit = Audit()
    path = lib(USER, "-fno-ipa-cp")
    with rtld.Namespace(hooks=audit) as ns:
        library = ns.dlopen(path)
        library.scaled.restype = ctypes.c_double
        assert library.scaled(4) == 4 * 1.5 + 28 + 0.5
        assert library.scaled(2) == 10 * 2.0 + 28 + 0.5
        assert library.now() == 99
        assert library.word() == 1
        assert ns.dlopen("libalias.so").path.endswith("libz.so.1")
    assert ("search", "libtest.so") in audit.seen
    assert ("open", "libtest.so") in audit.seen
    assert ("bind", "scale") in audit.seen
    assert ("enter", "scale", 4, 1.5) in audit.seen
    assert ("exit", 34.0) in audit.seen
    # The list changes in between, and only there.
    told = [row for row in audit.seen if row[0] in ("activity", "open", "close")]
    assert told[:3] == [("activity", "add"), ("open", "libtest.so"), ("activity", "consistent")]
    assert [row[0] for row in told[-4:]] == ["activity", "close", "close", "activity"]
    assert (told[-4][1], told[-1][1]) == ("delete", "consistent")


def test_search_that_finds_nothing(lib: Lib) -> None:
    class Nothing(Hooks):
        def objsearch(self, name: str, requester: object) -> str | None:
            return None

    with rtld.Namespace(hooks=Nothing()) as ns, pytest.raises(rtld.NotFound):
        ns.dlopen("libz.so.1")


def test_a_hook_that_fails_takes_all_back(lib: Lib) -> None:
    class Fails(Hooks):
        def objopen(self, module: Any) -> None:
            raise RuntimeError("no such library here")

    path = lib(
        '#include <stdio.h>\n__attribute__((destructor)) static void f(void) { puts("finished"); }'
    )
    with rtld.Namespace(hooks=Fails()) as ns:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no such library"):
                ns.dlopen(path)
            assert not ns.modules


def test_trace_of_calls(lib: Lib) -> None:
    """The same lines as ``rtld run --trace=calls`` has for programs of emulated CPUs (tests/emulated/test_observed.py)."""
    sink = io.StringIO()
    path = lib(USER, "-fno-ipa-cp")
    with rtld.Namespace(hooks=CallTrace(Trace({"calls"}, sink, 7))) as ns:
        library = ns.dlopen(path)
        library.word()
        library.now()
    lines = sink.getvalue().splitlines()
    call = rf"         7:\tcall from file {path} \[0\] to (\S+) \[0\]: (\w+)\(0x[0-9a-f]+, 0x[0-9a-f]+, 0x[0-9a-f]+\)"
    back = rf"         7:\treturn to file {path} \[0\] from (\S+) \[0\]: (\w+) = (0x[0-9a-f]+)"
    calls = [found for line in lines if (found := re.fullmatch(call, line))]
    returns = [found for line in lines if (found := re.fullmatch(back, line))]
    assert [found[2] for found in calls][:2] == ["getenv", "time"]
    assert {found[1].rpartition("/")[2] for found in calls} == {"libc.so.6"}
    assert ("getenv", "0x0") in [(found[2], found[3]) for found in returns]

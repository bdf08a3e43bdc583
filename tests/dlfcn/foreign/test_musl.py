"""The same with musl, whose dynamic linker and C library are one file."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from pathlib import Path

from dlfcn.foreign import sysroots
from rtld.dlfcn.foreign.namespace import ForeignNamespace

COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
LIBRARY = """
#include <string.h>
static __thread int own = 4; __thread int shown = 5;
static char begun[8];
__attribute__((constructor)) static void begin(void) { strcpy(begun, "yes"); }
int count(void) { return ++own + shown; }
const char *has_begun(void) { return begun; }
"""


def test_the_c_library(cpu: str, require: Callable[[str], None]) -> None:
    root = sysroots.debian(cpu)
    if root is None:
        require("Debian's package archive")
    with ForeignNamespace(str(root), model="musl", seconds=60) as machine:
        assert machine.world.ns.model == "musl"
        libc = machine.dlopen(None, use_errno=True)
        libc.cdef(
            "size_t strlen(const char *); int snprintf(char *, size_t, const char *, ...); double strtod(const char *, void *);"
        )
        assert libc.strlen(b"hello") == 5
        out = ctypes.create_string_buffer(40)
        assert libc.snprintf(out, 40, b"%s %d %.3f", b"x", -7, 2.5) == 10
        assert out.value == b"x -7 2.500"
        assert libc.strtod(b"0.1", None) == 0.1
        values = (ctypes.c_int * 5)(3, 1, 4, 1, 5)
        libc.qsort.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, COMPARE]
        libc.qsort(values, 5, 4, lambda a, b: a[0] - b[0])
        assert list(values) == [1, 1, 3, 4, 5]
        assert libc.chdir(b"/nowhere") == -1
        assert ctypes.get_errno() == errno.ENOENT


def test_a_library(cc: Callable[..., Path], require: Callable[[str], None]) -> None:
    """Built by musl-gcc, which is there for this machine's CPU."""
    root = sysroots.debian("x86_64")
    if root is None:
        require("Debian's package archive")
    with ForeignNamespace(str(root), model="musl", seconds=60) as machine:
        path = cc(LIBRARY, "libmusl_case.so", "-shared", "-fPIC", arch="x86_64", libc="musl")
        with machine.dlopen(path) as library:
            assert [library.count(), library.count()] == [10, 11]
            assert library.data("shown", ctypes.c_int).value == 5
            library.cdef("const char *has_begun(void);")
            assert library.has_begun() == b"yes"
        assert machine.modules == []

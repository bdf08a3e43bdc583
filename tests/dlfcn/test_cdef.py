"""Declarations in C."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable

import pytest

import rtld

pytest.importorskip("pycparser")


def test_functions_types_structures(lib: Callable[..., str]) -> None:
    library = rtld.dlopen(
        lib(
            """
            struct point { int x; double y; };
            double norm(struct point p, long scale) { return (p.x + p.y) * scale; }
            const char *name(void) { return "text"; }
            unsigned long long big(void) { return -1; }
            int apply(int (*f)(int, int), int a) { return f(a, 2); }
            void fill(unsigned char *p, unsigned long n) { while (n) p[--n] = n; }
            """
        )
    )
    library.cdef(
        """
        struct point { int x; double y; };
        enum { TWO = 2, FOUR = TWO * 2, FIVE };
        typedef struct point point_t;
        double norm(point_t p, long int scale);
        const char *name(void);
        unsigned long long big(void);
        int apply(int (*f)(int, int), int a);
        void fill(uint8_t *p, size_t n);
        """
    )
    types = library._types
    assert types.constants["FIVE"] == 5
    assert library.norm(types.records["point"](1, 2.5), 4) == 14.0
    assert library.name() == b"text"
    assert library.big() == 2**64 - 1
    assert (
        library.apply(
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(lambda a, b: a * 10 + b), 3
        )
        == 32
    )
    buffer = ctypes.create_string_buffer(4)
    library.fill(buffer, 4)
    assert buffer.raw == b"\0\1\2\3"
    with pytest.raises(rtld.RtldError):
        library.cdef("int f(nothing x);")
    library.close()


def test_declared_before_and_after() -> None:
    z = rtld.dlopen("libz.so.1")
    function = z.crc32
    z.cdef(
        "unsigned long crc32(unsigned long, const unsigned char *, unsigned int); const char *zlibVersion(void);"
    )
    assert z.crc32 is function
    assert z.crc32(0, b"abc", 3) == zlib.crc32(b"abc")
    assert z.zlibVersion().startswith(b"1.")
    z.close()

"""Types that ctypes has no words for, or other CPUs have otherwise: long double, _Complex, __int128, SIMD vectors, bit-fields."""

from __future__ import annotations

import cmath
import ctypes
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtld.arch.longdouble import decode_quad, decode_x87, encode_quad, encode_x87
from rtld.dlfcn.foreign.namespace import ForeignNamespace
from rtld.errors import Unsupported
from rtld.process.foreign.types import DoubleComplex, Int128, UnsignedInt128, vector

CC = Callable[..., Path]

LIBRARY = r"""
#include <complex.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
long double twice(long double x) { return 2 * x; }
int text(long double x, char *out) { return sprintf(out, "%.19Lg", x); }
long double largest(void) { return LDBL_MAX; }
long double parse(const char *text) { long double x; sscanf(text, "%Lf", &x); return x; }
double _Complex turn(double _Complex z, float _Complex w) { return z * I + w; }
long double _Complex stretch(long double _Complex z, long double by) { return z * by; }
struct flags { unsigned kind : 3; int level : 5; long long stamp : 40; long long last : 1; };
struct flags change(struct flags f, int by) { f.kind ^= 5; f.level -= by; f.stamp = -f.stamp; f.last = ~f.last; return f; }
int level_of(const struct flags *f) { return f->level; }
void set(struct flags *f, long long stamp) { f->stamp = stamp; }
struct pair { long double x; double _Complex z; };
struct pair exchange(struct pair p) { struct pair q = { creal(p.z), p.x + cimag(p.z) * I }; return q; }
long double sum(int n, ...)
{
    __builtin_va_list list; long double total = 0;
    __builtin_va_start(list, n);
    while (n--) total += __builtin_va_arg(list, long double) * creal(__builtin_va_arg(list, double _Complex));
    return total;
}
long double apply(long double (*f)(long double, double _Complex), long double x) { return f(x, 2 + x * I) + 1; }
double _Complex across(double _Complex (*f)(float _Complex), float x) { return f(x + 3 * I) * 2; }
"""
WIDE = r"""
typedef float V __attribute__((vector_size(16)));
typedef int W __attribute__((vector_size(8)));
__int128 product(long long a, unsigned __int128 b) { return a * (__int128) b; }
unsigned __int128 most(void) { return -1; }
V add(V a, V b) { return a + b; }
W negate(W a, int n, V b) { W r = {-a[0] * n, -a[1] * (int) b[3]}; return r; }
"""
FLAGS = ("-O1", "-shared", "-fPIC", "-w")


@pytest.fixture
def library(machine: ForeignNamespace, cpu: str, cc: CC) -> Any:
    return machine.dlopen(cc(LIBRARY, "libtypes.so", *FLAGS, "-lm", arch=cpu)).cdef(r"""
        long double twice(long double); int text(long double, char *); long double largest(void); long double parse(const char *);
        double _Complex turn(double _Complex, _Complex float); long double _Complex stretch(long double _Complex, long double);
        struct flags { unsigned kind : 3; int level : 5; long long stamp : 40; long long last : 1; };
        struct flags change(struct flags, int); int level_of(const struct flags *); void set(struct flags *, long long);
        struct pair { long double x; double _Complex z; }; struct pair exchange(struct pair);
        long double sum(int, ...);
        long double apply(long double (*)(long double, double _Complex), long double);
        double _Complex across(double _Complex (*)(float _Complex), float);
    """)


NUMBERS = (
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.1,
    1e300,
    -1e-300,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
)


def test_long_double(library: Any) -> None:
    for number in NUMBERS:
        got = library.twice(number)
        assert struct.pack("<d", got) == struct.pack("<d", 2 * number), number
        out = ctypes.create_string_buffer(64)
        library.text(number, out)
        assert struct.pack("<d", float(out.value)) == struct.pack("<d", number)
        assert (
            library.parse(b"%.1200f" % number if math.isfinite(number) else str(number).encode())
            == number
        )
    assert math.isnan(library.twice(math.nan))
    assert library.largest() == (
        1.7976931348623157e308 if library.namespace.cpu == "arm" else math.inf
    )
    assert library.twice(ctypes.c_longdouble(2.5)) == 5
    assert list(library.twice.map([1, 2.5, -3])) == [2, 5, -6]
    with pytest.raises(ctypes.ArgumentError):
        library.twice("1")


def test_complex_numbers(library: Any) -> None:
    assert library.turn(3 + 4j, 0.5 - 1j) == (3 + 4j) * 1j + 0.5 - 1j
    assert library.turn(2, 1.5) == 2j + 1.5
    assert library.stretch(1.5 - 2j, 4) == 6 - 8j
    with pytest.raises(ctypes.ArgumentError):
        library.turn("1", 1)


def test_libm(machine: ForeignNamespace, cpu: str) -> None:
    """The C library's own functions."""
    m = machine.dlopen("libm.so.6").cdef(
        "double _Complex cexp(double _Complex); double cabs(double _Complex); long double sqrtl(long double);"
        "long double ldexpl(long double, int); float _Complex csqrtf(float _Complex);"
    )
    assert abs(m.cexp(1 + 2j) - cmath.exp(1 + 2j)) < 1e-15
    assert m.cabs(3 - 4j) == 5
    assert m.sqrtl(2) == math.sqrt(2)
    assert m.ldexpl(1.5, 1000) == math.ldexp(1.5, 1000)
    assert abs(m.csqrtf(-4) - 2j) < 1e-6


def test_bit_fields(library: Any) -> None:
    flags = library.types["flags"](kind=6, level=-13, stamp=-(1 << 38) + 7, last=-1)
    changed = library.change(flags, 3)
    assert (changed.kind, changed.level, changed.stamp, changed.last) == (3, -16, (1 << 38) - 7, 0)
    assert library.level_of(ctypes.byref(flags)) == -13
    library.set(ctypes.byref(flags), -5)
    assert (flags.kind, flags.level, flags.stamp, flags.last) == (6, -13, -5, -1)


def test_structures_of_them(library: Any) -> None:
    pair = library.types["pair"](1.25, DoubleComplex(2.5, -3))
    back = library.exchange(pair)
    assert (back.x, back.z.real, back.z.imag) == (2.5, 1.25, -3)


def test_variable_arguments(library: Any) -> None:
    longer = ctypes.c_longdouble
    assert library.sum(3, longer(1), 2 + 1j, longer(0.5), 4j, longer(-3), 1.5 + 0j) == 2 - 4.5


def test_callbacks(library: Any) -> None:
    seen = []

    def called(x: float, z: complex) -> float:
        seen.append((x, z))
        return x * 2

    assert library.apply(called, 1.5) == 4
    assert seen == [(1.5, 2 + 1.5j)]
    assert library.across(lambda w: w * 1j, 2) == (2 + 3j) * 1j * 2


def test_wide_integers_and_vectors(machine: ForeignNamespace, cpu: str, cc: CC) -> None:
    four = vector(ctypes.c_float, 4)
    if cpu in ("i386", "arm"):
        with pytest.raises(Unsupported, match=r"__int128 on a CPU of 32 bits"):
            machine.guest.converter.types.of(Int128)
        if cpu == "i386":
            with pytest.raises(Unsupported, match="SIMD vectors of 16 bytes"):
                machine.guest.converter.types.of(four)
        return
    library = machine.dlopen(cc(WIDE, "libwide.so", *FLAGS, arch=cpu))
    library.cdef("__int128 product(long long, unsigned __int128); unsigned __int128 most(void);")
    assert library.product(-3, 1 << 100) == -3 << 100
    assert library.product(1, -1) == -1
    assert library.most() == (1 << 128) - 1
    assert library.function("most", Int128)() == -1
    two = vector(ctypes.c_int, 2)
    add = library.function("add", four, four, four)
    assert list(add([1, 2, 3, 4], four(0.5, 0.25, -3, -8))) == [1.5, 2.25, 0, -4]
    negate = library.function("negate", two, two, ctypes.c_int, four)
    assert list(negate((3, -7), 2, [0, 0, 0, 5])) == [-6, 35]
    with pytest.raises(ctypes.ArgumentError, match="4 numbers"):
        add([1, 2], [1, 2, 3, 4])
    with pytest.raises(ctypes.ArgumentError):
        library.product(1, 1.5)
    assert vector(ctypes.c_int, 2) is two
    with pytest.raises(Unsupported, match="SIMD vectors of 32 bytes"):
        library.function("add", vector(ctypes.c_double, 4))
    assert issubclass(UnsignedInt128, Int128)


def test_bytes_of_long_doubles() -> None:
    """The encodings themselves, with what doubles do not have."""
    assert encode_x87(1.0) == bytes.fromhex("0000000000000080ff3f")
    assert encode_quad(-2.0, "big") == bytes.fromhex("c0" + "00" * 15)
    for number in NUMBERS:
        for data in (
            encode_x87(number, 16),
            ctypes.string_at(ctypes.byref(ctypes.c_longdouble(number)), 10),
        ):
            assert struct.pack("<d", decode_x87(data)) == struct.pack("<d", number)
        for order in ("little", "big"):
            assert struct.pack("<d", decode_quad(encode_quad(number, order), order)) == struct.pack(
                "<d", number
            )
    # Halfway between two doubles, and a little more: to even, and up.
    half = (1 << 112 | 1 << 59) & (1 << 112) - 1
    one = 0x3FFF << 112
    assert decode_quad((one | half).to_bytes(16, "big"), "big") == 1.0
    assert decode_quad((one | half | 1).to_bytes(16, "big"), "big") == math.nextafter(1, 2)
    assert decode_quad((0x7FFE << 112).to_bytes(16, "big"), "big") == math.inf
    assert decode_quad((1 << 112).to_bytes(16, "big"), "big") == 0.0
    assert math.isnan(decode_quad((0x7FFF << 112 | 1).to_bytes(16, "little"), "little"))
    assert math.isnan(decode_x87(encode_x87(math.nan)))

"""Functions of MIPS libraries, called from Python: emulated on request, as far as Unicorn allows (``quirks``)."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtld.dlfcn.foreign.namespace import ForeignNamespace

SYSROOTS = {"mips64el": "/usr/mips64el-linux-gnuabi64", "mipsel": "/usr/mipsel-linux-gnu"}


@pytest.fixture(params=SYSROOTS)
def mips(
    request: pytest.FixtureRequest, require: Callable[[str], None]
) -> Iterator[ForeignNamespace]:
    if not Path(SYSROOTS[request.param]).is_dir():
        require(f"the C library of {request.param}")
    with ForeignNamespace(SYSROOTS[request.param], cpu=request.param) as namespace:
        yield namespace


def test_numbers_strings_and_batches(mips: ForeignNamespace) -> None:
    libm, libc = mips.dlopen("libm.so.6"), mips.dlopen("libc.so.6")
    libm.pow.restype, libm.pow.argtypes = ctypes.c_double, [ctypes.c_double] * 2
    assert libm.pow(2.0, 0.5) == math.sqrt(2)
    assert list(libm.pow.map([(2.0, 3.0), (3.0, 2.0)])) == [8.0, 9.0]
    libm.ldexpf.restype, libm.ldexpf.argtypes = ctypes.c_float, [ctypes.c_float, ctypes.c_int]
    assert libm.ldexpf(0.75, 4) == 12.0
    assert libc.strlen(b"hello") == 5
    assert libc.abs(-5) == 5
    libc.labs.restype, libc.labs.argtypes = ctypes.c_long, [ctypes.c_long]
    assert libc.labs(-7) == 7
    room = ctypes.create_string_buffer(40)
    libc.snprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    assert libc.snprintf(room, 40, b"%s %d %.2f", b"x", 7, ctypes.c_double(1.5)) == 8
    assert room.value == b"x 7 1.50"


def test_a_callback(mips: ForeignNamespace) -> None:
    libc = mips.dlopen("libc.so.6")
    kind = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.POINTER(ctypes.c_int)] * 2)
    libc.qsort.restype = None
    libc.qsort.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, kind]
    numbers = (ctypes.c_int * 5)(5, 3, 9, 1, 2)
    libc.qsort(numbers, 5, 4, kind(lambda a, b: int(a[0] - b[0])))
    assert list(numbers) == [1, 2, 3, 5, 9]

"""msvcrt.dll, ucrtbase.dll: the mathematics of C99, in double and single precision: this computer's C library does it.

Whatever has no result there has none here: nothing is an error.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import struct

from rtld.backends.windows.crt import UCRT
from rtld.backends.windows.msvcrt import MSVCRT
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import System

    Action = Callable[..., Any]

_libm = ctypes.CDLL(ctypes.util.find_library("m") or None)
_C = {"d": ctypes.c_double, "f": ctypes.c_float, "i": ctypes.c_int, "q": ctypes.c_longlong}
_NAN, _INFINITE, _ZERO, _NORMAL, _SUBNORMAL = 2, 1, 0, -1, -2  # FP_* of <math.h>
# C's names, and what they take and give in double precision; with an f behind them, in single.
_REALS = """acosh asinh atanh cbrt exp2 expm1 log1p log2 logb nearbyint rint round trunc erf erfc tgamma lgamma"""
_OLD = "sin cos tan asin acos atan sinh cosh tanh exp log log10 sqrt floor ceil fabs"
_PAIRS = "fdim fmax fmin remainder nextafter"
_OLD_PAIRS = "pow fmod atan2"


def both(names: str, arguments: str = "", result: str = "u") -> Callable[[Action], Action]:
    """Declare a function of both C libraries."""

    def declare(action: Action) -> Action:
        for table in (MSVCRT, UCRT):
            table(names, arguments, result, "cdecl")(action)
        return action

    return declare


def _of_libm(name: str, arguments: str, result: str) -> None:
    function = getattr(_libm, name)
    function.argtypes = [_C[letter] for letter in arguments]
    function.restype = _C[result]

    @both(name, arguments, result)
    def action(_system: System, *values: Any) -> Any:
        return function(*values)


for _name in _REALS.split():
    _of_libm(_name, "d", "d")
for _name in [*_REALS.split(), *_OLD.split()]:
    _of_libm(_name + "f", "f", "f")
for _name in _PAIRS.split():
    _of_libm(_name, "dd", "d")
for _name in [*_PAIRS.split(), *_OLD_PAIRS.split(), "hypot", "copysign"]:
    _of_libm(_name + "f", "ff", "f")
_of_libm("fma", "ddd", "d")
_of_libm("fmaf", "fff", "f")
_of_libm("ilogb", "d", "i")
_of_libm("ldexpf", "fi", "f")


@both("lround lrint", "d", "i")
def lround(_system: System, value: float) -> int:
    return int(math.floor(abs(value) + 0.5) * math.copysign(1, value)) if math.isfinite(value) else -(1 << 31)  # fmt: skip


@both("llround llrint", "d", "q")
def llround(_system: System, value: float) -> int:
    return lround(_system, value) if math.isfinite(value) else -(1 << 63)


def _class(value: float, least: float) -> int:
    if math.isnan(value):
        return _NAN
    if math.isinf(value):
        return _INFINITE
    return _ZERO if not value else _SUBNORMAL if abs(value) < least else _NORMAL


@both("_dclass _ldclass", "d", "i")
def dclass(_system: System, value: float) -> int:
    return _class(value, 2.0**-1022)


@both("_fdclass", "f", "i")
def fdclass(_system: System, value: float) -> int:
    return _class(value, 2.0**-126)


@both("_dtest _ldtest", "p", "i")
def dtest(system: System, at: int) -> int:
    return _class(struct.unpack("<d", system.memory.read(at, 8))[0], 2.0**-1022)


@both("_fdtest", "p", "i")
def fdtest(system: System, at: int) -> int:
    return _class(struct.unpack("<f", system.memory.read(at, 4))[0], 2.0**-126)


@both("_dsign _ldsign", "d", "i")
def dsign(_system: System, value: float) -> int:
    return 0x8000 if math.copysign(1, value) < 0 else 0


@both("_fdsign", "f", "i")
def fdsign(_system: System, value: float) -> int:
    return 0x8000 if math.copysign(1, value) < 0 else 0


# -- what compilers of x86 call with its arguments in SSE registers --------------------------------


def _in_registers(name: str, count: int) -> None:
    function = getattr(_libm, name)
    function.argtypes, function.restype = [ctypes.c_double] * count, ctypes.c_double

    @both(f"_libm_sse2_{name}_precise __libm_sse2_{name}", "", "v")
    def action(system: System) -> None:
        if not hasattr(system.threads, "engine"):
            raise TargetFault(f"_libm_sse2_{name}_precise is there on emulated CPUs only")
        engine = system.threads.engine
        values = [struct.unpack("<d", (engine.get(f"xmm{n}") & (1 << 64) - 1).to_bytes(8, "little"))[0] for n in range(count)]  # fmt: skip
        result = struct.pack("<d", function(*values))
        engine.set("xmm0", int.from_bytes(result, "little"))


for _name in ["acos", "asin", "atan", "cos", "exp", "log", "log10", "sin", "sqrt", "tan"]:
    _in_registers(_name, 1)
_in_registers("pow", 2)

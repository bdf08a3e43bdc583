"""msvcrt.dll: numbers and their texts, chance, mathematics."""

from __future__ import annotations

import math
import os
import re
import struct

from rtld.backends.windows.msvcrt import MSVCRT, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import System


def scan_integer(text: bytes, base: int) -> tuple[int, int]:
    """(value, characters used)."""
    digits = text.lstrip(b" \t\n\r\v\f")
    at = len(text) - len(digits)
    sign = -1 if digits[:1] == b"-" else 1
    start = 1 if digits[:1] in (b"-", b"+") else 0
    body = digits[start:].lower()
    if base in (0, 16) and body[:2] == b"0x":
        base, start, body = 16, start + 2, body[2:]
    base = base or (8 if body[:1] == b"0" else 10)
    allowed = b"0123456789abcdefghijklmnopqrstuvwxyz"[:base]
    count = next((i for i, c in enumerate(body) if c not in allowed), len(body))
    return (sign * int(body[:count], base), at + start + count) if count else (0, 0)


@MSVCRT("atoi atol", "s", "i")
@MSVCRT("_wtoi _wtol", "w", "i")
def atoi(_system: System, text: Any) -> int:
    data = text if isinstance(text, bytes) else (text or "").encode("latin-1", "replace")
    return max(-(1 << 31), min(scan_integer(data, 10)[0], (1 << 31) - 1))


@MSVCRT("_atoi64 atoll", "s", "q")
@MSVCRT("_wtoi64", "w", "q")
def atoi64(_system: System, text: Any) -> int:
    data = text if isinstance(text, bytes) else (text or "").encode("latin-1", "replace")
    return max(-(1 << 63), min(scan_integer(data, 10)[0], (1 << 63) - 1))


def _strto(names: str, wide_names: str, low: int, high: int, result: str) -> None:
    """Declare strtol's kin: what is beyond the limits gives the nearest one, and ERANGE."""

    def action(system: System, text: int, end: int, base: int, wide: bool) -> int:
        data = (
            (system.wide(text) or "").encode("latin-1", "replace")
            if wide
            else system.text(text) or b""
        )
        value, used = scan_integer(data, base)
        if end:
            system.put(end, text + used * (2 if wide else 1))
        if value > high or value < low:
            return failed(system, 34, high if value > high else low)
        return value

    MSVCRT(names, "ppi", result)(lambda s, t, e, b: action(s, t, e, b, False))
    MSVCRT(wide_names, "ppi", result)(lambda s, t, e, b: action(s, t, e, b, True))


_strto("strtol", "wcstol", -(1 << 31), (1 << 31) - 1, "i")
_strto("strtoul", "wcstoul", -(1 << 32) + 1, (1 << 32) - 1, "i")
_strto("_strtoi64 strtoll strtoimax", "_wcstoi64 wcstoll", -(1 << 63), (1 << 63) - 1, "q")
_strto("_strtoui64 strtoull strtoumax", "_wcstoui64 wcstoull", -(1 << 64) + 1, (1 << 64) - 1, "q")

_REAL = re.compile(r"\s*([-+]?(?:\d+\.?\d*(?:[eEdD][-+]?\d+)?|\.\d+(?:[eEdD][-+]?\d+)?))")


def real_of(text: str) -> tuple[float, int]:
    """(value, characters used) of a number in a text."""
    match = _REAL.match(text)
    return (float(match[1].replace("d", "e").replace("D", "e")), match.end()) if match else (0.0, 0)


def _strtod(system: System, text: str, at: int, end: int, unit: int) -> float:
    value, used = real_of(text)
    if end:
        system.put(end, at + used * unit)
    if math.isinf(value):
        failed(system, 34, 0)
    return value


@MSVCRT("strtod", "pp", "d")
def strtod(system: System, text: int, end: int) -> float:
    return _strtod(system, (system.text(text) or b"").decode("latin-1"), text, end, 1)


@MSVCRT("wcstod", "pp", "d")
def wcstod(system: System, text: int, end: int) -> float:
    return _strtod(system, system.wide(text) or "", text, end, 2)


@MSVCRT("atof", "p", "d")
def atof(system: System, text: int) -> float:
    return strtod(system, text, 0)  # type: ignore[no-any-return]


@MSVCRT("abs labs", "i", "i")
def abs_(_system: System, value: int) -> int:
    return abs(value)


@MSVCRT("rand", "", "i")
def rand(system: System) -> int:
    seed = (system.threads.current.crt.get("seed", 1) * 214013 + 2531011) & 0xFFFFFFFF
    system.threads.current.crt["seed"] = seed
    return int(seed >> 16 & 0x7FFF)


@MSVCRT("srand", "u", "v")
def srand(system: System, seed: int) -> None:
    system.threads.current.crt["seed"] = seed


def _one_real(name: str, function: Callable[[float], float]) -> None:
    @MSVCRT(name, "d", "d")
    def action(_system: System, x: float) -> float:
        try:
            return float(function(x))
        except (ValueError, OverflowError):
            return math.nan


for _n in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "log10", "sqrt", "floor", "ceil", "fabs"):  # fmt: skip
    _one_real(_n, getattr(math, _n))


def _two_reals(name: str, function: Callable[[float, float], float]) -> None:
    @MSVCRT(name, "dd", "d")
    def action(_system: System, x: float, y: float) -> float:
        try:
            return float(function(x, y))
        except (ValueError, OverflowError, ZeroDivisionError):
            return math.nan


for _n in ("pow", "fmod", "atan2"):
    _two_reals(_n, getattr(math, _n))


# -- texts of numbers -----------------------------------------------------------------------------

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def digits_of(value: int, base: int) -> str:
    """The digits of a number that is not negative."""
    result = ""
    while True:
        value, digit = divmod(value, base)
        result = _DIGITS[digit] + result
        if not value:
            return result


def _texts(name: str, bits: int, *, signed: bool) -> None:
    letter = "q" if bits == 64 else "i"

    def text_of(value: int, base: int) -> str:
        if not 2 <= base <= 36:
            return ""
        value &= (1 << bits) - 1
        if signed and base == 10 and value >> (bits - 1):
            return "-" + digits_of((1 << bits) - value, 10)
        return digits_of(value, base)

    def narrow(system: System, value: int, out: int, base: int) -> int:
        system.memory.write(out, text_of(value, base).encode() + b"\0")
        return out

    def wide(system: System, value: int, out: int, base: int) -> int:
        system.memory.write(out, text_of(value, base).encode("utf-16-le") + b"\0\0")
        return out

    def safe(system: System, value: int, out: int, room: int, base: int) -> int:
        text = text_of(value, base)
        if not text or len(text) + 1 > room:
            return failed(system, 34, 34)
        system.memory.write(out, text.encode() + b"\0")
        return 0

    MSVCRT(f"_{name}", f"{letter}pi", "p")(narrow)
    MSVCRT(f"_{name[:-1]}w", f"{letter}pi", "p")(wide)
    MSVCRT(f"_{name}_s", f"{letter}ppi", "i")(safe)


for _n, _bits, _signed in (("itoa", 32, True), ("ltoa", 32, True), ("ultoa", 32, False), ("i64toa", 64, True), ("ui64toa", 64, False)):  # fmt: skip
    _texts(_n, _bits, signed=_signed)


def _pair(a: int, b: int, size: int) -> int:
    """div_t: both numbers in one register, or in two of 32 bits."""
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0
    rest = a - quotient * b
    mask = (1 << 8 * size) - 1
    return (quotient & mask) | (rest & mask) << 8 * size


@MSVCRT("div ldiv", "ii", "q")
def div(_system: System, a: int, b: int) -> int:
    return _pair(a, b, 4)


@MSVCRT("rand_s", "p", "i")
def rand_s(system: System, out: int) -> int:
    system.memory.write(out, os.urandom(4))
    return 0


@MSVCRT("_abs64 llabs", "q", "q")
def abs64(_system: System, value: int) -> int:
    return abs(value - ((value >> 63) << 64))


@MSVCRT("_byteswap_ulong", "u")
def byteswap_ulong(_system: System, value: int) -> int:
    return int.from_bytes(value.to_bytes(4, "little"), "big")


@MSVCRT("_byteswap_uint64", "q", "q")
def byteswap_uint64(_system: System, value: int) -> int:
    return int.from_bytes(value.to_bytes(8, "little"), "big")


@MSVCRT("_rotl _lrotl", "ui")
def rotl(_system: System, value: int, count: int) -> int:
    count &= 31
    return (value << count | value >> (32 - count)) & 0xFFFFFFFF


@MSVCRT("_rotr _lrotr", "ui")
def rotr(_system: System, value: int, count: int) -> int:
    return rotl(_system, value, -count)  # type: ignore[no-any-return]


# -- the parts of reals ---------------------------------------------------------------------------


@MSVCRT("frexp", "dp", "d")
def frexp(system: System, value: float, out: int) -> float:
    mantissa, exponent = math.frexp(value)
    system.put(out, exponent, 4)
    return mantissa


@MSVCRT("ldexp scalbn _scalb", "di", "d")
def ldexp(system: System, value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        failed(system, 34, 0)
        return math.copysign(math.inf, value)


@MSVCRT("modf", "dp", "d")
def modf(system: System, value: float, out: int) -> float:
    fraction, whole = math.modf(value)
    system.memory.write(out, struct.pack("<d", whole))
    return fraction


@MSVCRT("_isnan", "d", "i")
def isnan(_system: System, value: float) -> int:
    return int(math.isnan(value))


@MSVCRT("_finite", "d", "i")
def finite(_system: System, value: float) -> int:
    return int(math.isfinite(value))


@MSVCRT("_copysign copysign", "dd", "d")
def copysign(_system: System, value: float, sign: float) -> float:
    return math.copysign(value, sign)


@MSVCRT("_hypot hypot", "dd", "d")
def hypot(_system: System, x: float, y: float) -> float:
    return math.hypot(x, y)


@MSVCRT("_fpclass", "d", "i")
def fpclass(_system: System, value: float) -> int:
    """_FPCLASS_*: quiet NaN, then from -infinity to +infinity."""
    if math.isnan(value):
        return 2
    negative = math.copysign(1, value) < 0
    if math.isinf(value):
        return 4 if negative else 0x200
    if not value:
        return 0x20 if negative else 0x40
    small = abs(value) < 2.2250738585072014e-308
    return (0x10 if small else 8) if negative else (0x80 if small else 0x100)


@MSVCRT("_clearfp _statusfp", "", "u")
def clearfp(_system: System) -> int:
    return 0


@MSVCRT("_control87 _controlfp", "uu")
def control87(_system: System, _new: int, _mask: int) -> int:
    return 0x9001F


@MSVCRT("_fpreset", "", "v")
def fpreset(_system: System) -> None:
    return


@MSVCRT("_gcvt", "dip", "p")
def gcvt(system: System, value: float, digits: int, out: int) -> int:
    system.memory.write(out, f"{value:.{max(1, min(digits, 400))}g}".encode() + b"\0")
    return out

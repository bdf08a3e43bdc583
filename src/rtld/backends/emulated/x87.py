"""The top of the x87's stack, which Unicorn has no register for: it names the eight registers as they stand in the CPU."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.engine import Engine

_BIAS = 16383
_SIGN = 0x8000


def _top(engine: Engine) -> str:
    return f"fp{engine.get('fpsw') >> 11 & 7}"


def read_top(engine: Engine) -> float:
    """ST(0) as a double."""
    found: Any = engine.get(_top(engine))
    mantissa, exponent = found
    return decode(mantissa, exponent)


def write_top(engine: Engine, value: float) -> None:
    """Change ST(0)."""
    pair: Any = encode(value)
    engine.set(_top(engine), pair)


def decode(mantissa: int, exponent: int) -> float:
    """A number of 80 bits as the nearest double: 64 bits of mantissa, the highest of them the integer part; sign and exponent."""
    sign = -1.0 if exponent & _SIGN else 1.0
    exponent &= 0x7FFF
    if exponent == 0x7FFF:
        return sign * (math.inf if mantissa << 1 & (1 << 64) - 1 == 0 else math.nan)
    try:
        return sign * math.ldexp(mantissa, exponent - _BIAS - 63)
    except OverflowError:
        return sign * math.inf


def encode(value: float) -> tuple[int, int]:
    """(mantissa, sign and exponent) of a double."""
    sign = _SIGN if math.copysign(1.0, value) < 0 else 0
    if value == 0:
        return 0, sign
    if math.isinf(value) or math.isnan(value):
        return (1 << 63 if math.isinf(value) else 3 << 62), sign | 0x7FFF
    fraction, exponent = math.frexp(abs(value))
    return int(math.ldexp(fraction, 64)), sign | exponent - 1 + _BIAS

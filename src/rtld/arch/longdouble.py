"""``long double`` as bytes: IEEE binary128 (IEEE 754-2008, 3.6) and the x87's 80 bits (Intel SDM 1, 4.2.2), from doubles and back."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Order = Literal["little", "big"]

BIAS = 16383  # of both
_QUAD = 112  # bits of the fraction
_SPECIAL = 0x7FFF  # infinities and NaNs


def _parts(value: float) -> tuple[int, int, int]:
    """(sign, biased exponent, 64 bits of mantissa with the integer bit at the top)."""
    sign = int(math.copysign(1.0, value) < 0)
    if value == 0:
        return sign, 0, 0
    if math.isinf(value):
        return sign, _SPECIAL, 1 << 63
    if math.isnan(value):
        return sign, _SPECIAL, 3 << 62
    fraction, exponent = math.frexp(abs(value))
    return sign, exponent - 1 + BIAS, int(math.ldexp(fraction, 64))


def _value(sign: int, exponent: int, mantissa: int, bits: int) -> float:
    """The nearest double; *mantissa* has *bits* behind its point."""
    if exponent == _SPECIAL:
        found = math.nan if mantissa & (1 << bits) - 1 else math.inf
    else:
        power = max(exponent, 1) - BIAS - bits
        try:
            found = float(mantissa << power) if power >= 0 else mantissa / (1 << -power)
        except OverflowError:
            found = math.inf
    return -found if sign else found


def encode_x87(value: float, size: int = 10) -> bytes:
    """Ten bytes, and zeros up to *size*."""
    sign, exponent, mantissa = _parts(value)
    data = mantissa.to_bytes(8, "little") + (sign << 15 | exponent).to_bytes(2, "little")
    return data.ljust(size, b"\0")


def decode_x87(data: bytes) -> float:
    """The first ten bytes."""
    top = int.from_bytes(data[8:10], "little")
    return _value(top >> 15, top & _SPECIAL, int.from_bytes(data[:8], "little"), 63)


def encode_quad(value: float, order: Order) -> bytes:
    """Sixteen bytes."""
    sign, exponent, mantissa = _parts(value)
    fraction = (mantissa & (1 << 63) - 1) << _QUAD - 63
    return (sign << 127 | exponent << _QUAD | fraction).to_bytes(16, order)


def decode_quad(data: bytes, order: Order) -> float:
    """Of sixteen bytes."""
    number = int.from_bytes(data, order)
    exponent = number >> _QUAD & _SPECIAL
    mantissa = number & (1 << _QUAD) - 1 | (1 << _QUAD if 0 < exponent < _SPECIAL else 0)
    return _value(number >> 127, exponent, mantissa, _QUAD)

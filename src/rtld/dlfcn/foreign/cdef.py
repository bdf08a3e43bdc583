"""Declarations in C for another CPU: where its types differ from this one's, others stand for them."""

from __future__ import annotations

import ctypes

from rtld.dlfcn.cdef import Types as HostTypes
from rtld.process.foreign.types import (
    DoubleComplex,
    FloatComplex,
    Int128,
    LongDoubleComplex,
    LongLong,
    UnsignedInt128,
    UnsignedLongLong,
    vector,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
_WIDE = {"long long": LongLong, "long long unsigned": UnsignedLongLong}
_WIDE_NAMED = {
    "int64_t": LongLong, "uint64_t": UnsignedLongLong, "off64_t": LongLong,
    "int_least64_t": LongLong, "uint_least64_t": UnsignedLongLong, "intmax_t": LongLong, "uintmax_t": UnsignedLongLong,
}
# fmt: on


#: What ctypes has no type for.
_MORE = {
    "_Complex float": FloatComplex,
    "_Complex double": DoubleComplex,
    "_Complex double long": LongDoubleComplex,
    "__int128": Int128,
    "__int128 unsigned": UnsignedInt128,
}
#: SIMD vectors by the names that <xmmintrin.h> and <arm_neon.h> have.
_VECTORS = {
    "__m128": vector(ctypes.c_float, 4),
    "__m128d": vector(ctypes.c_double, 2),
    "__m128i": vector(LongLong, 2),
    "float32x2_t": vector(ctypes.c_float, 2),
    "float32x4_t": vector(ctypes.c_float, 4),
    "float64x1_t": vector(ctypes.c_double, 1),
    "float64x2_t": vector(ctypes.c_double, 2),
    **{
        f"{'u' * (not signed)}int{8 * size}x{count}_t": vector(kind, count)
        for size, pair in {
            1: (ctypes.c_ubyte, ctypes.c_byte),
            2: (ctypes.c_ushort, ctypes.c_short),
            4: (ctypes.c_uint, ctypes.c_int),
            8: (UnsignedLongLong, LongLong),
        }.items()
        for signed, kind in enumerate(pair)
        for count in (8 // size, 16 // size)
    },
}


class Variadic(list[object]):
    """The types before ``...``."""


class Types(HostTypes):
    """On a CPU whose ``long`` is as long as ours nothing differs but that ``...`` is remembered."""

    def __init__(self, word: int) -> None:
        super().__init__()
        self.plain = self.plain | _MORE
        self.named |= _VECTORS
        if word == 4:
            self.plain = self.plain | _WIDE
            self.named |= _WIDE_NAMED

    def bit_field(self, kind: Any, name: str, made: Any, width: int) -> tuple[Any, ...]:
        """ctypes can have them of its own types only: ``_wide_`` says what was meant."""
        own = {LongLong: ctypes.c_longlong, UnsignedLongLong: ctypes.c_ulonglong}.get(made)
        if own is not None:
            kind._wide_ = (*kind.__dict__.get("_wide_", ()), name)
        return super().bit_field(kind, name, own or made, width)

    def function(self, node: Any) -> tuple[Any, list[Any] | None]:
        """(restype, argtypes)."""
        result, arguments = super().function(node)
        parameters = list(node.args.params) if node.args is not None else []
        if any(isinstance(p, self.ast.EllipsisParam) for p in parameters):
            return result, Variadic(arguments or ())
        return result, arguments

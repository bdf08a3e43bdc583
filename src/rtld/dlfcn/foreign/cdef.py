"""Declarations in C for another CPU: where its types differ from this one's, others stand for them."""

from __future__ import annotations

from rtld.dlfcn.cdef import Types as HostTypes
from rtld.process.foreign.types import LongLong, UnsignedLongLong

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


class Variadic(list[object]):
    """The types before ``...``."""


class Types(HostTypes):
    """On a CPU whose ``long`` is as long as ours nothing differs but that ``...`` is remembered."""

    def __init__(self, word: int) -> None:
        super().__init__()
        if word == 4:
            self.plain = self.plain | _WIDE
            self.named |= _WIDE_NAMED

    def function(self, node: Any) -> tuple[Any, list[Any] | None]:
        """(restype, argtypes)."""
        result, arguments = super().function(node)
        parameters = list(node.args.params) if node.args is not None else []
        if any(isinstance(p, self.ast.EllipsisParam) for p in parameters):
            return result, Variadic(arguments or ())
        return result, arguments

"""s390x: which address an instruction wants to reach, for an engine that does not say which one it could not.

Operands in storage are base, index and displacement, or a distance from the instruction; where they are in an instruction
depends on its format, which its first byte tells (z/Architecture Principles of Operation, chapter 5 and appendix B).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: First bytes of six-byte instructions with a 20-bit displacement: of those with an index, and of those without.
_LONG_INDEXED, _LONG = frozenset({0xE3}), frozenset({0xEB})
_INDEXED_SIX = frozenset({0xED, 0xE7})
_RELATIVE = frozenset({0xC4, 0xC6})


def operands(code: bytes, pc: int, register: Callable[[int], int]) -> list[int]:
    """Addresses of the operands in storage of the instruction *code* at *pc*. *register*: the value of r0 to r15."""
    first = code[0]

    def at(place: int, index: int = 0, high: int = 0) -> int:
        """Base and 12-bit displacement of the half-word at *place*."""
        half = int.from_bytes(code[place : place + 2], "big")
        base, displacement = half >> 12, (half & 0xFFF) | high << 12
        if displacement >> 19:
            displacement -= 1 << 20
        total = displacement + (register(base) if base else 0) + (register(index) if index else 0)
        return total & (1 << 64) - 1

    if first >> 6 == 0:
        return []
    if first >> 6 in (1, 2):
        if len(code) < 4:
            return []
        indexed = 0x40 <= first <= 0x7F
        return [at(2, code[1] & 15 if indexed else 0)]
    if len(code) < 6:
        return []
    if first in _LONG_INDEXED | _LONG:
        return [at(2, code[1] & 15 if first in _LONG_INDEXED else 0, code[4])]
    if first in _INDEXED_SIX:
        return [at(2, code[1] & 15)]
    if first in _RELATIVE:
        return [pc + 2 * int.from_bytes(code[2:6], "big", signed=True) & (1 << 64) - 1]
    if first == 0xE5:
        return [at(2)]
    return [at(2), at(4)]  # SS

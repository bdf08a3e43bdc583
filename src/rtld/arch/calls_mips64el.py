"""Calls of C functions on MIPS64 little-endian, n64 (MIPSpro N32/N64 ABI Handbook, 2; gcc config/mips/mips.cc, mips_get_arg_info).

An argument takes the next of eight slots, which are both integer and floating-point registers; what does not fit goes on on the
stack. Structures are passed word by word; one of 32 bits is in a register as a number of that size is: with its sign.
"""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import FLOATS, INTS, Assigner, Convention, Layout, Piece, Place, whole
from rtld.arch.ctype import DataModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.ctype import CType

# fmt: off
STUB = Stub("""
        01 00 11 04  bal . + 8
        00 00 00 00  nop
        f8 0f f0 67  daddiu $16, $31, 4088
        00 00 11 de  ld $17, 0($16)
        08 00 12 de  ld $18, 8($16)
        10 00 1d de  ld $29, 16($16)
        28 00 08 de  ld $8, 40($16)
        2f e8 a8 03  dsubu $29, $29, $8
        d0 00 29 66  daddiu $9, $17, 208
        25 50 a0 03  move $10, $29
        2d 58 a8 03  daddu $11, $29, $8
        06 00 4b 11  beq $10, $11, . + 28
        00 00 00 00  nop
        00 00 2c dd  ld $12, 0($9)
        00 00 4c fd  sd $12, 0($10)
        08 00 29 65  daddiu $9, $9, 8
        fa ff 00 10  b . - 20
        08 00 4a 65  daddiu $10, $10, 8
        50 00 2c d6  ldc1 $f12, 80($17)
        58 00 2d d6  ldc1 $f13, 88($17)
        60 00 2e d6  ldc1 $f14, 96($17)
        68 00 2f d6  ldc1 $f15, 104($17)
        70 00 30 d6  ldc1 $f16, 112($17)
        78 00 31 d6  ldc1 $f17, 120($17)
        80 00 32 d6  ldc1 $f18, 128($17)
        88 00 33 d6  ldc1 $f19, 136($17)
        00 00 24 de  ld $4, 0($17)
        08 00 25 de  ld $5, 8($17)
        10 00 26 de  ld $6, 16($17)
        18 00 27 de  ld $7, 24($17)
        20 00 28 de  ld $8, 32($17)
        28 00 29 de  ld $9, 40($17)
        30 00 2a de  ld $10, 48($17)
        38 00 2b de  ld $11, 56($17)
        18 00 19 de  ld $25, 24($16)
        09 f8 20 03  jalr $25
        00 00 00 00  nop
        00 00 22 fe  sd $2, 0($17)
        08 00 23 fe  sd $3, 8($17)
        50 00 20 f6  sdc1 $f0, 80($17)
        58 00 22 f6  sdc1 $f2, 88($17)
        60 00 21 f6  sdc1 $f1, 96($17)
        68 00 23 f6  sdc1 $f3, 104($17)
        20 00 08 de  ld $8, 32($16)
        2d 88 28 02  daddu $17, $17, $8
        ff ff 52 66  daddiu $18, $18, -1
        d6 ff 40 16  bne $18, $0, . - 164
        00 00 00 00  nop
""")
# fmt: on

SLOTS = 8
F0, F2 = FLOATS, FLOATS + 8  # where the row has results; $f1 and $f3 are behind them


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Variadic arguments are never in floating-point registers."""
    a = Assigner(8, SLOTS, SLOTS)
    hidden = None
    if result.size > 16:
        hidden = whole(a.take_ints(1) or 0, 8)
    places = [_place(a, kind, named=fixed is None or i < fixed) for i, kind in enumerate(arguments)]
    if result.kind == "void":
        return a.layout(places, None)
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    return a.layout(places, _result(result))


def _place(a: Assigner, kind: CType, *, named: bool) -> Place:
    if kind.align == 16:
        a.next_int += a.next_int % 2
    left = max(a.ints - a.next_int, 0)
    words = a.words(kind.size)
    floats = _in_floats(kind, words) if named else set()
    if kind.kind == "complex" and kind.size <= 16:
        if left < 2:
            floats = set()  # like a structure
        elif named:
            part, first = kind.size // 2, a.next_int
            a.next_int += 2
            return Place(
                (Piece(a.float_slot(first), 0, part), Piece(a.float_slot(first + 1), part, part))
            )
    pieces = []
    for i in range(min(words, left)):
        slot = a.float_slot(a.next_int) if i in floats else a.int_slot(a.next_int)
        pieces.append(Piece(slot, 8 * i, min(8, kind.size - 8 * i), sign=kind.size == 4))
        a.next_int += 1
    if words > left:
        size = kind.size - 8 * left
        pieces.append(Piece(a.push(size, 8 if left else max(8, kind.align)), 8 * left, size))
    if kind.scalar:
        # Numbers of 32 bits have their sign extended, even those that have none.
        return a.scalar_place(pieces[0].at, kind, sign=True if kind.size == 4 else None)
    return Place(tuple(pieces))


def _in_floats(kind: CType, words: int) -> set[int]:
    """Which words are in floating-point registers: all of a number, and each that is a double of a structure's own."""
    if kind.kind in ("float", "complex"):
        return set(range(words))
    if kind.kind != "struct":
        return set()
    return {
        m.offset // 8
        for m in kind.members
        if m.type.kind == "float" and m.type.size == 8 and m.offset % 8 == 0
    }


def _result(kind: CType) -> Place:
    numbers = [kind] if kind.kind == "float" else []
    if kind.kind in ("struct", "complex") and 1 <= len(kind.members) <= 2:
        numbers = [m.type for m in kind.members]
    if not numbers or any(n.kind != "float" for n in numbers):
        return Place((Piece(INTS, 0, kind.size, sign=kind.size == 4),))
    if len(numbers) == 2:
        first, second = kind.members
        return Place(
            (Piece(F0, first.offset, first.type.size), Piece(F2, second.offset, second.type.size))
        )
    if kind.size <= 8:
        return whole(F0, kind.size)
    return Place((Piece(F0, 0, 8), Piece(F2, 8, 8)))


CONVENTION = Convention(
    DataModel(8, 8, char_signed=True, order="<"), STUB, assign,
    ints=tuple(str(i) for i in range(4, 12)), floats=tuple(f"f{i}" for i in range(12, 20)),
    frame=0, int_results=("2", "3"), float_results=("f0", "f2"),
)  # fmt: skip

"""Calls of C functions on MIPS little-endian, o32 (System V psABI, MIPS supplement, 3; gcc config/mips/mips.cc, mips_get_arg_info).

Arguments are words of a structure whose first four are in registers; the first two arguments, as long as they are floating-point
numbers, are in $f12 and $f14 instead. Structures are returned in memory whatever their size.
"""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import FLOATS, INTS, STACK, Assigner, Convention, Layout, Piece, Place, whole
from rtld.arch.ctype import DataModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.ctype import CType

# fmt: off
STUB = Stub("""
        01 00 11 04  bal . + 8
        00 00 00 00  nop
        f8 0f f0 27  addiu $16, $31, 4088
        00 00 11 8e  lw $17, 0($16)
        04 00 12 8e  lw $18, 4($16)
        08 00 1d 8e  lw $29, 8($16)
        14 00 08 8e  lw $8, 20($16)
        23 e8 a8 03  subu $29, $29, $8
        d0 00 29 26  addiu $9, $17, 208
        25 50 a0 03  move $10, $29
        21 58 a8 03  addu $11, $29, $8
        06 00 4b 11  beq $10, $11, . + 28
        00 00 00 00  nop
        00 00 2c 8d  lw $12, 0($9)
        00 00 4c ad  sw $12, 0($10)
        04 00 29 25  addiu $9, $9, 4
        fa ff 00 10  b . - 20
        04 00 4a 25  addiu $10, $10, 4
        50 00 2c d6  ldc1 $f12, 80($17)
        58 00 2e d6  ldc1 $f14, 88($17)
        00 00 24 8e  lw $4, 0($17)
        04 00 25 8e  lw $5, 4($17)
        08 00 26 8e  lw $6, 8($17)
        0c 00 27 8e  lw $7, 12($17)
        0c 00 19 8e  lw $25, 12($16)
        09 f8 20 03  jalr $25
        00 00 00 00  nop
        00 00 22 ae  sw $2, 0($17)
        04 00 23 ae  sw $3, 4($17)
        08 00 24 ae  sw $4, 8($17)
        0c 00 25 ae  sw $5, 12($17)
        50 00 20 f6  sdc1 $f0, 80($17)
        58 00 22 f6  sdc1 $f2, 88($17)
        10 00 08 8e  lw $8, 16($16)
        21 88 28 02  addu $17, $17, $8
        ff ff 52 26  addiu $18, $18, -1
        e0 ff 40 16  bne $18, $0, . - 124
        00 00 00 00  nop
""")
# fmt: on

WORDS = 4  # of arguments in registers; the stack has room for them, too


class _Words:
    """The words of the arguments, of which ``next`` is free."""

    def __init__(self, *, floats: bool) -> None:
        self.next = 0
        self.number = 0  # arguments
        self.floats = floats  # so far all were floating-point numbers

    def place(self, kind: CType) -> Place:
        align = min(max(kind.align, 4), 8)
        self.next += -self.next % (align // 4)
        first = self.next
        self.next += -(-kind.size // 4)
        self.floats = self.floats and self.number < 2 and kind.kind == "float"
        self.number += 1
        if self.floats:
            return whole(FLOATS + 8 * (self.number - 1), kind.size)
        left = 4 * max(WORDS - first, 0)
        inside = min(kind.size, left)
        pieces = [Piece(INTS + 4 * first, 0, inside)] if inside else []
        if kind.size > inside:
            pieces.append(Piece(STACK + 4 * max(first, WORDS), inside, kind.size - inside))
        if kind.kind in ("int", "pointer") and kind.size <= 4:
            return Assigner(4, WORDS, 0).scalar_place(pieces[0].at, kind)
        return Place(tuple(pieces))


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Variadic functions get nothing in floating-point registers."""
    words = _Words(floats=fixed is None)
    hidden = None
    if result.kind in ("struct", "union") or (result.kind == "vector" and result.name == "float"):
        hidden = whole(INTS, 4)
        words.next, words.number, words.floats = 1, 1, False
    places = [words.place(kind) for kind in arguments]
    a = Assigner(4, WORDS, 0)
    a.stack = 4 * max(words.next, WORDS)
    if result.kind == "void":
        return a.layout(places, None)
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    if result.kind == "complex":
        part = result.size // 2
        return a.layout(places, Place((Piece(FLOATS, 0, part), Piece(FLOATS + 8, part, part))))
    return a.layout(places, whole(FLOATS if result.kind == "float" else INTS, result.size))


CONVENTION = Convention(
    DataModel(4, 8, char_signed=True, order="<", long_double=(8, 8, "double")), STUB, assign,
    ints=tuple(f"a{i}" for i in range(4)), floats=("f12", "f14"),
    frame=0, int_results=("v0", "v1", "a0", "a1"), float_results=("f0", "f2"),
)  # fmt: skip

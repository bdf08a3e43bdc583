"""Calls of C functions on s390x (ELF Application Binary Interface, s390x Supplement, 1.2.3)."""

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
        c0 70 00 00 08 00  larl %r7, . + 0x1000
        e3 80 70 00 00 04  lg %r8, 0(%r7)
        e3 90 70 08 00 04  lg %r9, 8(%r7)
        e3 f0 70 10 00 04  lg %r15, 16(%r7)
        e3 10 70 28 00 04  lg %r1, 40(%r7)
        b9 09 00 f1        sgr %r15, %r1
        a7 fb ff 60        aghi %r15, -160
        d7 07 f0 00 f0 00  xc 0(8,%r15), 0(%r15)
        41 20 80 d0        la %r2, 208(%r8)
        41 30 f0 a0        la %r3, 160(%r15)
        b9 02 00 11        ltgr %r1, %r1
        a7 84 00 10        jz . + 32
        e3 40 20 00 00 04  lg %r4, 0(%r2)
        e3 40 30 00 00 24  stg %r4, 0(%r3)
        41 20 20 08        la %r2, 8(%r2)
        41 30 30 08        la %r3, 8(%r3)
        a7 1b ff f8        aghi %r1, -8
        a7 f4 ff f0        j . - 32
        68 00 80 50        ld %f0, 80(%r8)
        68 20 80 58        ld %f2, 88(%r8)
        68 40 80 60        ld %f4, 96(%r8)
        68 60 80 68        ld %f6, 104(%r8)
        eb 26 80 00 00 04  lmg %r2, %r6, 0(%r8)
        e3 10 70 18 00 04  lg %r1, 24(%r7)
        0d e1              basr %r14, %r1
        e3 20 80 00 00 24  stg %r2, 0(%r8)
        60 00 80 50        std %f0, 80(%r8)
        e3 80 70 20 00 08  ag %r8, 32(%r7)
        a7 97 ff c6 07 07  brctg %r9, . - 116
""")
# fmt: on


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Structures of 1, 2, 4 or 8 bytes are passed like a number of that size, others as the address of a copy; so are complex
    numbers, vectors and what has 16 bytes.
    """
    del fixed
    a = Assigner(8, 5, 4)
    hidden = None
    if result.kind in ("struct", "union", "complex", "vector") or result.size > 8:
        hidden = whole(a.take_ints(1) or 0, 8)
    places = [_place(a, kind) for kind in arguments]
    if result.kind == "void":
        return a.layout(places, None)
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    if result.kind == "float":
        return a.layout(places, whole(FLOATS, result.size))
    return a.layout(places, whole(INTS + 8 - result.size, result.size))


def _is_float(kind: CType) -> bool:
    """A structure with one number counts as that; an array of one does not."""
    if kind.kind == "struct" and len(kind.members) == 1 and kind.members[0].type.size == kind.size:
        return _is_float(kind.members[0].type)
    return kind.kind == "float" and kind.scalar


def _place(a: Assigner, kind: CType) -> Place:
    if _is_float(kind):
        registers = a.take_floats(1)
        # A float is at the beginning of a register, and at the end of a word of stack.
        at = registers[0] if registers is not None else a.push(8, 8) + 8 - kind.size
        return whole(at, kind.size)
    register = a.take_ints(1)
    at = a.push(8, 8) if register is None else register
    if kind.scalar:
        return a.scalar_place(at, kind, big=True)
    if kind.size in (1, 2, 4, 8) and kind.kind not in ("complex", "vector"):
        return Place((Piece(at + 8 - kind.size, 0, kind.size),))
    return Place((Piece(at, 0, 8),), by_reference=True)


CONVENTION = Convention(
    DataModel(8, 8, char_signed=False, order=">", long_double=(16, 8, "quad")), STUB, assign,
    ints=tuple(f"r{i}" for i in range(2, 7)), floats=("f0", "f2", "f4", "f6"),
    frame=160, int_results=("r2",), float_results=("f0",),
)  # fmt: skip

"""Calls of C functions on RISC-V, LP64D (RISC-V ABIs Specification, "Calling Conventions")."""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import Assigner, Convention, Layout, Piece, Place, whole
from rtld.arch.ctype import DataModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.ctype import CType

# fmt: off
STUB = Stub("""
        17 14 00 00  auipc s0, 1
        83 34 04 00  ld s1, 0(s0)
        03 39 84 00  ld s2, 8(s0)
        03 31 04 01  ld sp, 16(s0)
        83 32 84 02  ld t0, 40(s0)
        33 01 51 40  sub sp, sp, t0
        13 83 04 0d  addi t1, s1, 208
        93 03 01 00  mv t2, sp
        33 0e 51 00  add t3, sp, t0
        63 8c c3 01  beq t2, t3, . + 24
        83 3e 03 00  ld t4, 0(t1)
        23 b0 d3 01  sd t4, 0(t2)
        13 03 83 00  addi t1, t1, 8
        93 83 83 00  addi t2, t2, 8
        6f f0 df fe  j . - 20
        07 b5 04 05  fld fa0, 80(s1)
        87 b5 84 05  fld fa1, 88(s1)
        07 b6 04 06  fld fa2, 96(s1)
        87 b6 84 06  fld fa3, 104(s1)
        07 b7 04 07  fld fa4, 112(s1)
        87 b7 84 07  fld fa5, 120(s1)
        07 b8 04 08  fld fa6, 128(s1)
        87 b8 84 08  fld fa7, 136(s1)
        03 b5 04 00  ld a0, 0(s1)
        83 b5 84 00  ld a1, 8(s1)
        03 b6 04 01  ld a2, 16(s1)
        83 b6 84 01  ld a3, 24(s1)
        03 b7 04 02  ld a4, 32(s1)
        83 b7 84 02  ld a5, 40(s1)
        03 b8 04 03  ld a6, 48(s1)
        83 b8 84 03  ld a7, 56(s1)
        83 32 84 01  ld t0, 24(s0)
        e7 80 02 00  jalr t0
        23 b0 a4 00  sd a0, 0(s1)
        23 b4 b4 00  sd a1, 8(s1)
        27 b8 a4 04  fsd fa0, 80(s1)
        27 bc b4 04  fsd fa1, 88(s1)
        83 32 04 02  ld t0, 32(s0)
        b3 84 54 00  add s1, s1, t0
        13 09 f9 ff  addi s2, s2, -1
        e3 16 09 f6  bnez s2, . - 148
""")
# fmt: on

BOXED = b"\xff\xff\xff\xff"  # above a float in a register of 64 bits


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Variadic arguments are never in floating-point registers."""
    a = Assigner(8, 8, 8)
    hidden = None
    if result.size > 16:
        hidden = whole(a.take_ints(1) or 0, 8)
    places = [_place(a, kind, named=fixed is None or i < fixed) for i, kind in enumerate(arguments)]
    if result.kind == "void":
        return a.layout(places, None)
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    return a.layout(places, _place(Assigner(8, 2, 2), result, named=True))


def _place(a: Assigner, kind: CType, *, named: bool) -> Place:
    place = _in_floats(a, kind) if named else None
    if place is not None:
        return place
    if kind.size > 16:
        at = a.take_ints(1)
        return Place((Piece(a.push(8, 8) if at is None else at, 0, 8),), by_reference=True)
    words = a.words(kind.size)
    if not named and kind.align == 16:
        a.next_int += a.next_int % 2
    at = a.take_ints(words)
    if at is None and words == 2 and a.next_int < a.ints:
        first = a.take_ints(1)
        assert first is not None
        return Place((Piece(first, 0, 8), Piece(a.push(kind.size - 8, 8), 8, kind.size - 8)))
    if at is None:
        at = a.push(kind.size, max(8, kind.align))
    if not kind.scalar:
        return whole(at, kind.size)
    # Numbers of 32 bits have their sign extended, even those that have none.
    return a.scalar_place(at, kind, sign=True if kind.size == 4 else None)


def _in_floats(a: Assigner, kind: CType) -> Place | None:
    """A number, one or two numbers in a structure, or one beside an integer or a bit-field."""
    found = list(kind.scalars())
    if kind.has_union or not 1 <= len(found) <= 2:
        return None
    if any(each.size > 8 or each.kind == "vector" for _, each in found):
        return None
    floats = [(offset, each) for offset, each in found if each.kind == "float"]
    ints = [(offset, each) for offset, each in found if each.kind != "float"]
    if not floats or a.next_float + len(floats) > a.floats or a.next_int + len(ints) > a.ints:
        return None
    pieces = []
    for offset, each in found:
        if each.kind == "float":
            at = (a.take_floats(1) or [0])[0]
            pieces.append(Piece(at, offset, each.size, BOXED if each.size == 4 else b""))
        else:
            at = a.take_ints(1) or 0
            # The bytes of a bit-field are rounded up to those of a number.
            pieces.append(Piece(at, offset, 1 << (each.size - 1).bit_length()))
    return Place(tuple(pieces))


CONVENTION = Convention(
    DataModel(8, 8, char_signed=False, order="<"), STUB, assign,
    ints=tuple(f"a{i}" for i in range(8)), floats=tuple(f"fa{i}" for i in range(8)),
    frame=0, int_results=("a0", "a1"), float_results=("fa0", "fa1"),
)  # fmt: skip

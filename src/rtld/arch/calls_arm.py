"""Calls of C functions on ARM with floating-point registers (Procedure Call Standard for the Arm Architecture, 6.5 and 7.1.2).

Variadic functions follow the base standard: nothing of theirs is in floating-point registers.
"""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import (
    FLOATS,
    INTS,
    Assigner,
    Convention,
    Layout,
    Piece,
    Place,
    homogeneous,
    whole,
)
from rtld.arch.ctype import DataModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.ctype import CType

# fmt: off
STUB = Stub("""
        ff 4e 8f e2  add r4, pc, #0xff0
        08 40 84 e2  add r4, r4, #8
        00 50 94 e5  ldr r5, [r4]
        04 60 94 e5  ldr r6, [r4, #4]
        08 00 94 e5  ldr r0, [r4, #8]
        14 10 94 e5  ldr r1, [r4, #20]
        01 d0 40 e0  sub sp, r0, r1
        d0 20 85 e2  add r2, r5, #208
        04 10 51 e2  subs r1, r1, #4
        02 00 00 ba  blt . + 16
        01 30 92 e7  ldr r3, [r2, r1]
        01 30 8d e7  str r3, [sp, r1]
        fa ff ff ea  b . - 16
        50 00 85 e2  add r0, r5, #80
        10 0b 90 ec  vldmia r0, {d0-d7}
        0f 00 95 e8  ldm r5, {r0, r1, r2, r3}
        0c c0 94 e5  ldr r12, [r4, #12]
        3c ff 2f e1  blx r12
        0f 00 85 e8  stm r5, {r0, r1, r2, r3}
        50 20 85 e2  add r2, r5, #80
        10 0b 82 ec  vstmia r2, {d0-d7}
        10 00 94 e5  ldr r0, [r4, #16]
        00 50 85 e0  add r5, r5, r0
        01 60 56 e2  subs r6, r6, #1
        ea ff ff 1a  bne . - 80
""")
# fmt: on


class _Singles:
    """The registers s0 to s15: a later float fills the gap that a double has left (6.1.2.1, C.1.vfp)."""

    def __init__(self) -> None:
        self.free = [True] * 16

    def take(self, size: int, count: int) -> int | None:
        """The offset of consecutive registers for *count* numbers of *size* bytes."""
        step = size // 4
        for at in range(0, 16 - step * count + 1, step):
            if all(self.free[at : at + step * count]):
                self.free[at : at + step * count] = [False] * (step * count)
                return FLOATS + 4 * at
        self.free = [False] * 16  # C.2.vfp
        return None


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """A structure may begin in registers and go on on the stack."""
    singles = _Singles() if fixed is None else None
    a = Assigner(4, 4, 0)
    same = _numbers(result) if fixed is None else None
    hidden = None
    if result.kind in ("struct", "union", "complex") and result.size > 4 and same is None:
        hidden = whole(a.take_ints(1) or 0, 4)
    places = [_place(a, singles, kind) for kind in arguments]
    if result.kind == "void":
        return a.layout(places, None)
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    return a.layout(places, whole(FLOATS if same is not None else INTS, result.size))


def _numbers(kind: CType) -> tuple[int, int] | None:
    return (kind.size, 1) if kind.kind in ("float", "vector") else homogeneous(kind)


def _place(a: Assigner, singles: _Singles | None, kind: CType) -> Place:
    same = _numbers(kind) if singles is not None else None
    align = 8 if kind.align == 8 else 4
    if same is not None and singles is not None:
        at = singles.take(*same)
        return whole(a.push(kind.size, align) if at is None else at, kind.size)
    words = a.words(kind.size)
    if align == 8:
        a.next_int += a.next_int % 2  # C.3
    at = a.take_ints(words)
    if at is None and a.next_int < a.ints and not a.stack:
        # C.5: the beginning is in the registers that are left.
        size = 4 * (a.ints - a.next_int)
        first = a.take_ints(size // 4)
        assert first is not None
        return Place(
            (Piece(first, 0, size), Piece(a.push(kind.size - size, 4), size, kind.size - size))
        )
    if at is None:
        a.next_int = a.ints
        at = a.push(kind.size, align)
    return a.scalar_place(at, kind) if kind.kind == "int" else whole(at, kind.size)


CONVENTION = Convention(
    DataModel(4, 8, char_signed=False, order="<", long_double=(8, 8, "double"), vectors=8), STUB, assign,
    ints=("r0", "r1", "r2", "r3"), floats=tuple(f"d{i}" for i in range(8)),
    frame=0, int_results=("r0", "r1", "r2", "r3"), float_results=tuple(f"d{i}" for i in range(8)),
)  # fmt: skip

"""Calls of C functions on AArch64 (Procedure Call Standard for the Arm 64-bit Architecture, 6.8)."""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import Assigner, Convention, Layout, Piece, Place, homogeneous, whole
from rtld.arch.ctype import DataModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.ctype import CType

# fmt: off
STUB = Stub("""
        13 80 00 10  adr x19, . + 0x1000
        74 56 40 a9  ldp x20, x21, [x19]
        62 5a 41 a9  ldp x2, x22, [x19, #16]
        77 16 40 f9  ldr x23, [x19, #40]
        42 00 17 cb  sub x2, x2, x23
        5f 00 00 91  mov sp, x2
        83 42 03 91  add x3, x20, #208
        b7 00 00 b4  cbz x23, . + 20
        64 14 c1 a8  ldp x4, x5, [x3], #16
        44 14 81 a8  stp x4, x5, [x2], #16
        f7 42 00 d1  sub x23, x23, #16
        fc ff ff 17  b . - 16
        80 86 42 ad  ldp q0, q1, [x20, #80]
        82 8e 43 ad  ldp q2, q3, [x20, #112]
        84 96 44 ad  ldp q4, q5, [x20, #144]
        86 9e 45 ad  ldp q6, q7, [x20, #176]
        88 22 40 f9  ldr x8, [x20, #64]
        86 1e 43 a9  ldp x6, x7, [x20, #48]
        84 16 42 a9  ldp x4, x5, [x20, #32]
        82 0e 41 a9  ldp x2, x3, [x20, #16]
        80 06 40 a9  ldp x0, x1, [x20]
        c0 02 3f d6  blr x22
        80 06 00 a9  stp x0, x1, [x20]
        80 86 02 ad  stp q0, q1, [x20, #80]
        82 8e 03 ad  stp q2, q3, [x20, #112]
        60 12 40 f9  ldr x0, [x19, #32]
        94 02 00 8b  add x20, x20, x0
        b5 06 00 f1  subs x21, x21, #1
        c1 fc ff 54  b.ne . - 104
""")
# fmt: on

X8 = 64  # where the row has the register with the address of a result in memory


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Variadic arguments are passed like others (not so on Apple's systems)."""
    del fixed
    a = Assigner(8, 8, 8, 16)
    places = [_place(a, kind) for kind in arguments]
    if result.kind == "void":
        return a.layout(places, None)
    if result.size > 16 and _numbers(result) is None:
        return a.layout(places, Place((), by_reference=True), whole(X8, 8))
    return a.layout(places, _place(Assigner(8, 2, 4, 16), result))


def _numbers(kind: CType) -> tuple[int, int] | None:
    return (kind.size, 1) if kind.kind in ("float", "vector") else homogeneous(kind)


def _place(a: Assigner, kind: CType) -> Place:
    same = _numbers(kind)
    if same is not None:
        size, count = same
        found = a.take_floats(count)
        if found is not None:
            return Place(tuple(Piece(at, size * i, size) for i, at in enumerate(found)))
        a.next_float = a.floats  # C.3: none of the rest is used
        return whole(a.push(kind.size, max(8, kind.align)), kind.size)
    if kind.scalar:
        at = a.take_ints(1)
        return a.scalar_place(a.push(8, 8) if at is None else at, kind)
    if kind.size > 16:
        at = a.take_ints(1)
        return Place((Piece(a.push(8, 8) if at is None else at, 0, 8),), by_reference=True)
    if kind.align == 16:
        a.next_int += a.next_int % 2  # C.10
    at = a.take_ints(a.words(kind.size))
    if at is None:
        a.next_int = a.ints  # C.13
        at = a.push(kind.size, max(8, kind.align))
    return whole(at, kind.size)


CONVENTION = Convention(
    DataModel(8, 8, char_signed=False, order="<"), STUB, assign,
    ints=tuple(f"x{i}" for i in range(9)), floats=tuple(f"q{i}" for i in range(8)),
    frame=0, int_results=("x0", "x1"), float_results=("q0", "q1", "q2", "q3"), float_size=16,
)  # fmt: skip

"""Calls of C functions on i386: everything is on the stack (System V psABI, i386 supplement, 2.2.3)."""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import (
    DOUBLE,
    FLOATS,
    INTS,
    SINGLE,
    Assigner,
    Convention,
    Layout,
    Place,
    whole,
)
from rtld.arch.ctype import DataModel
from rtld.core.terms import S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.ctype import CType

# fmt: off
STUB = Stub("""
        bb 00 00 00 00     mov $0, %ebx
        8b 33              mov (%ebx), %esi
        8b 7b 04           mov 4(%ebx), %edi
        8b 63 08           mov 8(%ebx), %esp
        8b 4b 14           mov 20(%ebx), %ecx
        29 cc              sub %ecx, %esp
        8d 96 a0 00 00 00  lea 160(%esi), %edx
        85 c9              test %ecx, %ecx
        74 0b              jz . + 13
        83 e9 04           sub $4, %ecx
        8b 04 0a           mov (%edx,%ecx), %eax
        89 04 0c           mov %eax, (%esp,%ecx)
        eb f1              jmp . - 13
        ff 53 0c           call *12(%ebx)
        89 06              mov %eax, (%esi)
        89 56 04           mov %edx, 4(%esi)
        8b 43 18           mov 24(%ebx), %eax
        48                 dec %eax
        78 0a              js . + 12
        74 05              jz . + 7
        dd 5e 50           fstpl 80(%esi)
        eb 03              jmp . + 5
        d9 5e 50           fstps 80(%esi)
        03 73 10           add 16(%ebx), %esi
        4f                 dec %edi
        75 c5              jnz . - 57
""", {"cell": (1, S)})
# fmt: on


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Structures are returned in memory whatever their size; the callee pops the address of that memory."""
    del fixed
    a = Assigner(4, 0, 0)
    hidden = None
    if result.kind in ("struct", "union"):
        hidden = whole(a.push(4, 4), 4)
    places = []
    for kind in arguments:
        at = a.push(kind.size, 4)
        places.append(a.scalar_place(at, kind) if kind.kind == "int" else whole(at, kind.size))
    if result.kind == "void":
        return a.layout(places, None)
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    if result.kind == "float":
        kind_of = SINGLE if result.size == 4 else DOUBLE
        return a.layout(places, whole(FLOATS, result.size), kind=kind_of)
    return a.layout(places, whole(INTS, result.size))


CONVENTION = Convention(
    DataModel(4, 4, char_signed=True, order="<"), STUB, assign,
    ints=(), floats=(), frame=4, int_results=("eax", "edx"), float_results=("st0",),
)  # fmt: skip

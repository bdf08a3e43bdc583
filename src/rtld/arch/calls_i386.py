"""Calls of C functions on i386: everything is on the stack (System V psABI, i386 supplement, 2.2.3)."""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import (
    DOUBLE,
    EXTENDED,
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
        8d 96 d0 00 00 00  lea 208(%esi), %edx
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
        78 12              js . + 20
        74 0d              jz . + 15
        48                 dec %eax
        74 05              jz . + 7
        db 7e 50           fstpt 80(%esi)
        eb 08              jmp . + 10
        dd 5e 50           fstpl 80(%esi)
        eb 03              jmp . + 5
        d9 5e 50           fstps 80(%esi)
        03 73 10           add 16(%ebx), %esi
        4f                 dec %edi
        75 bd              jnz . - 65
""", {"cell": (1, S)})
# fmt: on


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Structures are returned in memory whatever their size; the callee pops the address of that memory."""
    del fixed
    a = Assigner(4, 0, 0)
    hidden = None
    if result.kind in ("struct", "union") or (result.kind == "complex" and result.size > 8):
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
        kind_of = {4: SINGLE, 8: DOUBLE, 12: EXTENDED}[result.size]
        return a.layout(places, whole(FLOATS, min(result.size, 10)), kind=kind_of)
    return a.layout(places, whole(INTS, result.size))


CONVENTION = Convention(
    DataModel(4, 4, char_signed=True, order="<", long_double=(12, 4, "x87"), vectors=0), STUB, assign,
    ints=(), floats=(), frame=4, int_results=("eax", "edx"), float_results=("st0",),
)  # fmt: skip

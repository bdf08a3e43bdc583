"""Calls of C functions on x86-64 (System V psABI, AMD64 supplement, 3.2.3: classes of eightbytes)."""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.calling import (
    FLOATS,
    X87_ONE,
    X87_TWO,
    Assigner,
    Convention,
    Layout,
    Piece,
    Place,
    whole,
)
from rtld.arch.ctype import DataModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.ctype import CType

# fmt: off
STUB = Stub("""
        48 8d 1d f9 0f 00 00        lea 0xff9(%rip), %rbx
        4c 8b 23                    mov (%rbx), %r12
        4c 8b 6b 08                 mov 8(%rbx), %r13
        48 8b 63 10                 mov 16(%rbx), %rsp
        48 8b 4b 28                 mov 40(%rbx), %rcx
        48 29 cc                    sub %rcx, %rsp
        49 8d b4 24 d0 00 00 00     lea 208(%r12), %rsi
        48 89 e7                    mov %rsp, %rdi
        c1 e9 03                    shr $3, %ecx
        fc                          cld
        f3 48 a5                    rep movsq
        41 0f 10 44 24 50           movups 80(%r12), %xmm0
        41 0f 10 4c 24 60           movups 96(%r12), %xmm1
        41 0f 10 54 24 70           movups 112(%r12), %xmm2
        41 0f 10 9c 24 80 00 00 00  movups 128(%r12), %xmm3
        41 0f 10 a4 24 90 00 00 00  movups 144(%r12), %xmm4
        41 0f 10 ac 24 a0 00 00 00  movups 160(%r12), %xmm5
        41 0f 10 b4 24 b0 00 00 00  movups 176(%r12), %xmm6
        41 0f 10 bc 24 c0 00 00 00  movups 192(%r12), %xmm7
        49 8b 3c 24                 mov (%r12), %rdi
        49 8b 74 24 08              mov 8(%r12), %rsi
        49 8b 54 24 10              mov 16(%r12), %rdx
        49 8b 4c 24 18              mov 24(%r12), %rcx
        4d 8b 44 24 20              mov 32(%r12), %r8
        4d 8b 4c 24 28              mov 40(%r12), %r9
        b8 08 00 00 00              mov $8, %eax
        ff 53 18                    call *24(%rbx)
        49 89 04 24                 mov %rax, (%r12)
        49 89 54 24 08              mov %rdx, 8(%r12)
        41 0f 11 44 24 50           movups %xmm0, 80(%r12)
        41 0f 11 4c 24 60           movups %xmm1, 96(%r12)
        8b 43 30                    mov 48(%rbx), %eax
        85 c0                       test %eax, %eax
        74 0e                       jz . + 16
        41 db 7c 24 50              fstpt 80(%r12)
        ff c8                       dec %eax
        74 05                       jz . + 7
        41 db 7c 24 60              fstpt 96(%r12)
        4c 03 63 20                 add 32(%rbx), %r12
        49 ff cd                    dec %r13
        0f 85 48 ff ff ff           jnz . - 178
""")
# fmt: on

MEMORY, INTEGER, SSE, SSEUP, X87, X87UP = "memory", "integer", "sse", "sseup", "x87", "x87up"
NOTHING = ""  # padding


def classes(kind: CType) -> list[str]:
    """The class of each eightbyte; [MEMORY] for what goes there whole."""
    if kind.size > 16:
        return [MEMORY]
    found = [NOTHING] * -(-kind.size // 8)
    for offset, each in kind.scalars():
        if offset % each.align:
            return [MEMORY]
        for i, which in enumerate(_classes_of(each, offset), offset // 8):
            found[i] = _merged(found[i], which)
    for i, which in enumerate(found):
        before = found[i - 1] if i else NOTHING
        if which == MEMORY or (which == X87UP and before != X87):
            return [MEMORY]
        if which == SSEUP and before != SSE:
            found[i] = SSE
    return found


def _classes_of(kind: CType, offset: int) -> list[str]:
    """Of a number."""
    if kind.kind == "bits":
        return [INTEGER] * ((offset + kind.size - 1) // 8 - offset // 8 + 1)
    if kind.kind == "float":
        return [X87, X87UP] if kind.size == 16 else [SSE]
    if kind.kind == "vector":
        return [SSE, SSEUP][: kind.size // 8]
    return [INTEGER] * -(-kind.size // 8)


def _merged(a: str, b: str) -> str:
    """The class of an eightbyte that two are in (step 4 of the algorithm)."""
    if a == b or NOTHING in (a, b):
        return a or b
    for which in (MEMORY, INTEGER):
        if which in (a, b):
            return which
    return MEMORY if {a, b} & {X87, X87UP} else SSE


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """An argument is in registers whole or not at all."""
    del fixed  # a variadic callee learns from AL; the stub always says 8
    a = Assigner(8, 6, 8, 16)
    x87 = _on_x87(result)
    hidden = None
    if result.kind != "void" and not x87 and classes(result) == [MEMORY]:
        hidden = whole(a.take_ints(1) or 0, 8)
    places = [_place(a, kind) for kind in arguments]
    if result.kind == "void":
        return a.layout(places, None)
    if x87:
        return a.layout(
            places, Place(tuple(Piece(FLOATS + 16 * i, 16 * i, 10) for i in range(x87))), kind=x87
        )
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    return a.layout(places, _in_registers(Assigner(8, 2, 2, 16), result, classes(result)))


def _on_x87(result: CType) -> int:
    """How many numbers of the x87's stack a result is."""
    if result.kind == "complex" and result.size == 32:
        return X87_TWO
    return X87_ONE if result.kind != "void" and classes(result) == [X87, X87UP] else 0


def _place(a: Assigner, kind: CType) -> Place:
    found = classes(kind)
    place = None if MEMORY in found or X87 in found else _in_registers(a, kind, found)
    if place is None:
        at = a.push(kind.size, max(8, kind.align))
        return a.scalar_place(at, kind) if kind.scalar else whole(at, kind.size)
    return place


def _in_registers(a: Assigner, kind: CType, found: list[str]) -> Place | None:
    if a.next_int + found.count(INTEGER) > a.ints or a.next_float + found.count(SSE) > a.floats:
        return None
    pieces: list[Piece] = []
    for i, which in enumerate(found):
        if which == SSEUP:
            pieces[-1] = pieces[-1]._replace(size=16)
            continue
        if which == NOTHING:
            continue
        at = a.take_ints(1) if which == INTEGER else (a.take_floats(1) or [0])[0]
        assert at is not None
        pieces.append(Piece(at, 8 * i, min(8, kind.size - 8 * i)))
    return a.scalar_place(pieces[0].at, kind) if kind.scalar else Place(tuple(pieces))


CONVENTION = Convention(
    DataModel(8, 8, char_signed=True, order="<", long_double=(16, 16, "x87")), STUB, assign,
    ints=("rdi", "rsi", "rdx", "rcx", "r8", "r9"), floats=tuple(f"xmm{i}" for i in range(8)),
    frame=8, int_results=("rax", "rdx"), float_results=("xmm0", "xmm1"), float_size=16,
)  # fmt: skip

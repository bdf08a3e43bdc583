"""Calls of C functions on x86-64 (System V psABI, AMD64 supplement, 3.2.3: classes of eightbytes)."""

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
        48 8d 1d f9 0f 00 00           lea 0xff9(%rip), %rbx
        4c 8b 23                       mov (%rbx), %r12
        4c 8b 6b 08                    mov 8(%rbx), %r13
        48 8b 63 10                    mov 16(%rbx), %rsp
        48 8b 4b 28                    mov 40(%rbx), %rcx
        48 29 cc                       sub %rcx, %rsp
        49 8d b4 24 a0 00 00 00        lea 160(%r12), %rsi
        48 89 e7                       mov %rsp, %rdi
        c1 e9 03                       shr $3, %ecx
        fc                             cld
        f3 48 a5                       rep movsq
        f2 41 0f 10 44 24 50           movsd 80(%r12), %xmm0
        f2 41 0f 10 4c 24 58           movsd 88(%r12), %xmm1
        f2 41 0f 10 54 24 60           movsd 96(%r12), %xmm2
        f2 41 0f 10 5c 24 68           movsd 104(%r12), %xmm3
        f2 41 0f 10 64 24 70           movsd 112(%r12), %xmm4
        f2 41 0f 10 6c 24 78           movsd 120(%r12), %xmm5
        f2 41 0f 10 b4 24 80 00 00 00  movsd 128(%r12), %xmm6
        f2 41 0f 10 bc 24 88 00 00 00  movsd 136(%r12), %xmm7
        49 8b 3c 24                    mov (%r12), %rdi
        49 8b 74 24 08                 mov 8(%r12), %rsi
        49 8b 54 24 10                 mov 16(%r12), %rdx
        49 8b 4c 24 18                 mov 24(%r12), %rcx
        4d 8b 44 24 20                 mov 32(%r12), %r8
        4d 8b 4c 24 28                 mov 40(%r12), %r9
        b8 08 00 00 00                 mov $8, %eax
        ff 53 18                       call *24(%rbx)
        49 89 04 24                    mov %rax, (%r12)
        49 89 54 24 08                 mov %rdx, 8(%r12)
        f2 41 0f 11 44 24 50           movsd %xmm0, 80(%r12)
        f2 41 0f 11 4c 24 58           movsd %xmm1, 88(%r12)
        4c 03 63 20                    add 32(%rbx), %r12
        49 ff cd                       dec %r13
        0f 85 5c ff ff ff              jnz . - 158
""")
# fmt: on

MEMORY, INTEGER, SSE = "memory", "integer", "sse"


def classes(kind: CType) -> list[str]:
    """The class of each eightbyte; [MEMORY] for what goes there whole."""
    if kind.size > 16 or any(offset % each.size for offset, each in kind.scalars()):
        return [MEMORY]
    found = [SSE] * -(-kind.size // 8)
    for offset, each in kind.scalars():
        if each.kind != "float":
            found[offset // 8] = INTEGER
    return found


def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """An argument is in registers whole or not at all."""
    del fixed  # a variadic callee learns from AL; the stub always says 8
    a = Assigner(8, 6, 8)
    hidden = None
    if result.kind != "void" and classes(result) == [MEMORY]:
        hidden = whole(a.take_ints(1) or 0, 8)
    places = [_place(a, kind) for kind in arguments]
    if result.kind == "void":
        return a.layout(places, None)
    if hidden is not None:
        return a.layout(places, Place((), by_reference=True), hidden)
    return a.layout(places, _in_registers(Assigner(8, 2, 2), result, classes(result)))


def _place(a: Assigner, kind: CType) -> Place:
    found = classes(kind)
    place = _in_registers(a, kind, found) if found != [MEMORY] else None
    if place is None:
        at = a.push(kind.size, max(8, kind.align))
        return a.scalar_place(at, kind) if kind.scalar else whole(at, kind.size)
    return place


def _in_registers(a: Assigner, kind: CType, found: list[str]) -> Place | None:
    if a.next_int + found.count(INTEGER) > a.ints or a.next_float + found.count(SSE) > a.floats:
        return None
    pieces = []
    for i, which in enumerate(found):
        if which == INTEGER:
            at = a.take_ints(1)
        else:
            at = (a.take_floats(1) or [0])[0]
        assert at is not None
        pieces.append(Piece(at, 8 * i, min(8, kind.size - 8 * i)))
    return a.scalar_place(pieces[0].at, kind) if kind.scalar else Place(tuple(pieces))


CONVENTION = Convention(
    DataModel(8, 8, char_signed=True, order="<"), STUB, assign,
    ints=("rdi", "rsi", "rdx", "rcx", "r8", "r9"), floats=tuple(f"xmm{i}" for i in range(8)),
    frame=8, int_results=("rax", "rdx"), float_results=("xmm0", "xmm1"),
)  # fmt: skip

"""Calls of C functions on Windows ("x64 calling convention", "Argument Passing and Naming Conventions", "ARM64 ABI
conventions", learn.microsoft.com; what they leave open as clang for MSVC's ABI has it).

x86-64 has one place for an argument's number, whatever the ones before it were: rcx, rdx, r8, r9 or xmm0 to xmm3, or eight
bytes of stack above 32 bytes of home space. What is not 1, 2, 4 or 8 bytes goes by reference. i386 has everything on the stack,
but for a few registers of fastcall, thiscall and vectorcall. AArch64 is AAPCS64, but a variadic function gets everything as if
there were no floating-point registers.
"""

from __future__ import annotations

from rtld.arch import calls_aarch64
from rtld.arch.base import Stub
from rtld.arch.calling import (
    DOUBLE,
    FLOATS,
    INTS,
    SINGLE,
    STACK,
    Assigner,
    Convention,
    Layout,
    Piece,
    Place,
    homogeneous,
    whole,
)
from rtld.arch.ctype import DataModel
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtld.arch.ctype import CType

    Assign = Callable[[CType, Sequence[CType], int | None], Layout]

NO_STUB = Stub("")  # the machine's threads make the calls (backends/windows/machine.py)
HOME = 32  # x86-64: stack that belongs to the first four arguments
_SMALL = (1, 2, 4, 8)

# -- x86-64 ---------------------------------------------------------------------------------------


def _x64(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    del fixed  # a variadic callee looks into the integer registers: the caller fills both
    hidden = whole(INTS, 8) if _in_memory(result, _SMALL) else None
    first = 0 if hidden is None else 1
    places = [_x64_place(first + i, kind, floats=4) for i, kind in enumerate(arguments)]
    return _x64_layout(result, places, hidden, first + len(places))


def _x64_vectorcall(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    """Six floating-point registers by position; then structures of numbers alike (HVA) get those that are left.

    From the seventh argument on only what is in no register has a place on the stack.
    """
    if fixed is not None:
        raise Unsupported("a variadic function of vectorcall", "such a function is cdecl")
    hidden = None
    if _in_memory(result, _SMALL) and _vector(result) is None:
        hidden = whole(INTS, 8)
    first = 0 if hidden is None else 1
    used = {first + i for i, kind in enumerate(arguments) if kind.kind == "float"}
    free = [n for n in range(6) if n not in used]
    aggregates: dict[int, Place] = {}
    for i, kind in enumerate(arguments):
        size, count = _vector(kind) or (0, 0)
        if count and len(free) >= count:
            pieces = [Piece(FLOATS + 8 * n, size * k, size) for k, n in enumerate(free[:count])]
            aggregates[i] = Place(tuple(pieces))
            del free[:count]
    places = []
    slot = 4  # of the next argument on the stack
    for i, kind in enumerate(arguments):
        at = first + i
        held = aggregates.get(i)
        if held is None:
            held = _x64_place(at, kind, 6) if at < 6 else _x64_place(slot, kind, 0)
        places.append(held)
        if 4 <= at < 6 or (at >= 6 and i not in aggregates):
            slot += 1
    return _x64_layout(result, places, hidden, slot)


def _x64_layout(result: CType, places: list[Place], hidden: Place | None, slots: int) -> Layout:
    stack = HOME + 8 * max(0, slots - 4)
    stack += -stack % 16
    if result.kind == "void":
        return Layout(tuple(places), None, None, stack)
    if hidden is not None:
        return Layout(tuple(places), Place((), by_reference=True), hidden, stack)
    return Layout(tuple(places), _result(result), None, stack)


def _x64_slot(index: int) -> int:
    """The integer's place of an argument by its number."""
    return INTS + 8 * index if index < 4 else STACK + HOME + 8 * (index - 4)


def _x64_place(index: int, kind: CType, floats: int) -> Place:
    at = _x64_slot(index)
    if kind.kind == "float":
        return whole(FLOATS + 8 * index if index < floats else at, kind.size)
    if kind.scalar:
        return Place((Piece(at, 0, 8),), width=8)
    if kind.size in _SMALL:
        return whole(at, kind.size)
    return Place((Piece(at, 0, 8),), by_reference=True)


def _in_memory(result: CType, small: Sequence[int]) -> bool:
    """A result for which the caller gives the address of memory."""
    return result.kind in ("struct", "union") and result.size not in small


def _vector(kind: CType) -> tuple[int, int] | None:
    """(size, number) of the floating-point numbers that a structure of one to four alike consists of."""
    return None if kind.scalar or kind.kind == "void" else homogeneous(kind)


def _result(result: CType) -> Place:
    """In registers: an integer, a floating-point number, or a small structure as an integer."""
    if result.kind == "float":
        return whole(FLOATS, result.size)
    return whole(INTS, result.size)


def _vector_result(assign: Assign) -> Assign:
    """vectorcall's results: a structure of numbers alike is in as many registers."""

    def with_vectors(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
        layout = assign(result, arguments, fixed)
        found = _vector(result)
        if found is None:
            return layout
        size, count = found
        pieces = tuple(Piece(FLOATS + 8 * i, size * i, size) for i in range(count))
        return layout._replace(result=Place(pieces), hidden=None)

    return with_vectors


# -- i386 -----------------------------------------------------------------------------------------


def _i386(registers: int, vectors: int = 0) -> Assign:
    """So many of ecx and edx for small integers, so many xmm registers."""

    def assign(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
        if fixed is not None and registers:
            raise Unsupported("a variadic function with arguments in registers", "such a function is cdecl")  # fmt: skip
        a = Assigner(4, registers, vectors)
        hidden = None
        if vectors and result.kind in ("struct", "union"):
            raise Unsupported("structures by value in vectorcall functions of i386", "pass an address")  # fmt: skip
        if _in_memory(result, _SMALL):
            hidden = whole(a.push(4, 4), 4)
        places = [_i386_place(a, kind) for kind in arguments]
        if result.kind == "void":
            return Layout(tuple(places), None, None, a.stack)
        if hidden is not None:
            return Layout(tuple(places), Place((), by_reference=True), hidden, a.stack)
        kind_of = 0
        if result.kind == "float" and not vectors:
            kind_of = SINGLE if result.size == 4 else DOUBLE
        return Layout(tuple(places), _result(result), None, a.stack, kind_of)

    return assign


def _i386_place(a: Assigner, kind: CType) -> Place:
    if a.floats and not kind.scalar:
        raise Unsupported("structures by value in vectorcall functions of i386", "pass an address")
    if kind.kind == "float":
        found = a.take_floats(1)
        if found is not None:
            return whole(found[0], kind.size)
    if kind.scalar and kind.kind != "float" and kind.size <= 4:
        at = a.take_ints(1)
        return a.scalar_place(a.push(4, 4) if at is None else at, kind)
    at = a.push(kind.size, 4)
    return a.scalar_place(at, kind) if kind.kind == "int" else whole(at, kind.size)


# -- AArch64 --------------------------------------------------------------------------------------


def _arm64(result: CType, arguments: Sequence[CType], fixed: int | None) -> Layout:
    layout = calls_aarch64.assign(result, arguments, None)
    if fixed is None:
        return layout
    # Variadic: x0 to x7 are the first 64 bytes of what would be on the stack, of the named arguments, too.
    at = 0
    places = []
    for kind in arguments:
        size = 8 if kind.scalar or kind.size > 16 else kind.size
        pieces = tuple(
            Piece(INTS + o if o < 64 else STACK + o - 64, o - at, min(8, at + size - o))
            for o in range(at, at + size, 8)
        )
        if kind.kind in ("int", "pointer"):
            pieces = (Piece(pieces[0].at, 0, 8),)
            places.append(Place(pieces, width=8))
        elif kind.kind == "float":
            places.append(whole(pieces[0].at, kind.size))
        else:
            places.append(Place(pieces, by_reference=kind.size > 16))
        at += size + -size % 8
    stack = max(0, at - 64)
    return layout._replace(arguments=tuple(places), stack=stack + -stack % 16)


# -- tables ---------------------------------------------------------------------------------------

_X64_MODEL = DataModel(8, 8, char_signed=True, order="<")
_I386_MODEL = DataModel(4, 8, char_signed=True, order="<")
_ARM64_MODEL = DataModel(8, 8, char_signed=True, order="<")
_XMM = tuple(f"xmm{i}" for i in range(6))


def _x64_rules(assign: Assign) -> Convention:
    return Convention(
        _X64_MODEL, NO_STUB, assign, ints=("rcx", "rdx", "r8", "r9"), floats=_XMM, frame=8,
        int_results=("rax",), float_results=_XMM[:4],
    )  # fmt: skip


def _i386_rules(assign: Assign) -> Convention:
    return Convention(
        _I386_MODEL, NO_STUB, assign, ints=("ecx", "edx"), floats=_XMM, frame=4,
        int_results=("eax", "edx"), float_results=_XMM[:4],
    )  # fmt: skip


_ARM64_RULES = Convention(
    _ARM64_MODEL, NO_STUB, _arm64, ints=tuple(f"x{i}" for i in range(9)), floats=tuple(f"q{i}" for i in range(8)),
    frame=0, int_results=("x0", "x1"), float_results=("q0", "q1", "q2", "q3"), float_size=16,
)  # fmt: skip

CONVENTIONS = {
    "x86_64": {
        "cdecl": _x64_rules(_x64),
        "vectorcall": _x64_rules(_vector_result(_x64_vectorcall)),
    },
    "i386": {
        "cdecl": _i386_rules(_i386(0)),
        "stdcall": _i386_rules(_i386(0)),
        "thiscall": _i386_rules(_i386(1)),
        "fastcall": _i386_rules(_i386(2)),
        "vectorcall": _i386_rules(_i386(2, 6)),
    },
    "aarch64": {"cdecl": _ARM64_RULES},
}
NAMES = ("cdecl", "stdcall", "thiscall", "fastcall", "vectorcall")


def windows_convention(arch: str, name: str) -> Convention:
    """The rules of a convention by its name. x86-64 and AArch64 pay no attention to most names. Unsupported."""
    if name not in NAMES:
        raise Unsupported(f"calling convention {name!r}", f"there are {', '.join(NAMES)}")
    known = CONVENTIONS[arch]
    return known.get(name) or known["cdecl"]


def callee_pops(arch: str, name: str) -> bool:
    """The function takes its arguments from the stack when it returns."""
    return arch == "i386" and name != "cdecl"

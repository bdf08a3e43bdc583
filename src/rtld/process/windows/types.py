"""Types of ctypes as a Windows compiler lays them out.

On x86-64 they are this machine's, but for ``long``, which is 4 bytes there: ``c_int32``. ctypes has one object for ``long`` and ``long
long`` here; it stands for 8 bytes on 64-bit CPUs and, as ``c_size_t`` is the same object again, for a word on i386.
``LongLong`` and ``UnsignedLongLong`` are 8 bytes everywhere. Structures are copied as they are: on i386 their members must
have the same size there.
"""

from __future__ import annotations

import ctypes

from rtld.arch.ctype import VOID
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.arch.ctype import CType, DataModel

Simple: Any = ctypes.c_int.__mro__[1]
Pointer: Any = ctypes.POINTER(ctypes.c_int).__mro__[1]
Function: Any = ctypes.CFUNCTYPE(None).__mro__[1]


class LongLong(Simple):  # type: ignore[misc]
    """``long long`` and ``__int64``."""

    _type_ = "q"


class UnsignedLongLong(Simple):  # type: ignore[misc]
    """``unsigned long long`` and ``unsigned __int64``."""

    _type_ = "Q"


# fmt: off
_INTEGERS = {
    # letter of ctypes: bytes (0: a word), signed
    "b": (1, True), "B": (1, False), "c": (1, False), "?": (1, False), "h": (2, True), "H": (2, False), "u": (2, False),
    "i": (4, True), "I": (4, False), "l": (0, True), "L": (0, False), "q": (8, True), "Q": (8, False),
}
# fmt: on


def is_pointer(kind: Any) -> bool:
    """Passed as an address."""
    return issubclass(kind, Pointer | Function | ctypes.Array) or (
        issubclass(kind, Simple) and kind._type_ in "PzZO"
    )


def ctype_of(kind: Any, model: DataModel) -> CType:
    """The type as the compiler of that model has it. Unsupported for what has no counterpart; TypeError."""
    if kind is None:
        return VOID
    if not isinstance(kind, type):
        raise TypeError(f"{kind!r} is no type of ctypes")
    if issubclass(kind, ctypes.Structure | ctypes.Union):
        return _aggregate(kind, model)
    if is_pointer(kind):
        return model.pointer
    if not issubclass(kind, Simple):
        raise TypeError(f"{kind!r} is no type of ctypes")
    letter: str = kind._type_  # type: ignore[attr-defined]
    if letter in "fd":
        return model.real(4 if letter == "f" else 8)
    if letter not in _INTEGERS:
        raise Unsupported(f"{kind.__name__} as a type of a Windows function")
    size, signed = _INTEGERS[letter]
    return model.integer(size or model.word, signed=signed)


def _aggregate(kind: Any, model: DataModel) -> CType:
    """A structure or union, whose bytes must be here what they are there."""
    fields: list[tuple[str, CType]] = []
    for base in kind.__mro__[::-1]:
        for field in base.__dict__.get("_fields_", ()):
            if len(field) > 2:
                raise Unsupported(f"{kind.__name__}.{field[0]}: bit-fields in structures by value")
            fields.append((field[0], _member(field[1], model)))
    if issubclass(kind, ctypes.Union):
        result = model.union(fields)
    else:
        result = model.structure(fields, pack=getattr(kind, "_pack_", 0))
    same = all(getattr(kind, m.name).offset == m.offset for m in result.members)
    if not same or result.size != ctypes.sizeof(kind):
        raise Unsupported(
            f"{kind.__name__} by value: {result.size} bytes there, {ctypes.sizeof(kind)} here",
            "declare addresses and long integers as c_uint32 for i386",
        )
    return result


def _member(kind: Any, model: DataModel) -> CType:
    if isinstance(kind, type) and issubclass(kind, ctypes.Array):
        count: Any = kind._length_
        return model.array(_member(kind._type_, model), count)
    return ctype_of(kind, model)

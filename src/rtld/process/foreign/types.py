"""Types of ctypes as another CPU's compiler lays them out.

ctypes knows the types of the CPU that it runs on. Here only their names count: ``c_long`` is the guest's ``long``, 4 bytes on a
32-bit one, ``c_void_p`` its pointer. On this machine ctypes has one object for ``long`` and ``long long`` (and ``int64_t``); it stands for
``long``. ``LongLong`` and ``UnsignedLongLong`` are 8 bytes everywhere; declarations in C (``cdef``) use them.
"""

from __future__ import annotations

import ctypes

from rtld.arch.ctype import VOID
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.arch.ctype import CType, DataModel


class LongLong(ctypes.c_longlong):
    """``long long`` and ``int64_t``."""


class UnsignedLongLong(ctypes.c_ulonglong):
    """``unsigned long long`` and ``uint64_t``."""


class WideChar(ctypes.c_uint32):
    """``wchar_t`` as a number."""


# fmt: off
_INTEGERS = {
    # letter of ctypes: bytes (0: a word), signed
    "b": (1, True), "B": (1, False), "h": (2, True), "H": (2, False), "i": (4, True), "I": (4, False), "?": (1, False),
    "l": (0, True), "L": (0, False), "q": (8, True), "Q": (8, False), "u": (4, True),
}
# fmt: on
_POINTERS = ("P", "z", "Z")
Simple: Any = ctypes.c_int.__mro__[1]
Pointer: Any = ctypes.POINTER(ctypes.c_int).__mro__[1]
Function: Any = ctypes.CFUNCTYPE(None).__mro__[1]


def is_pointer(kind: Any) -> bool:
    """Passed as an address."""
    return kind is not None and (
        issubclass(kind, Pointer | Function)
        or (issubclass(kind, Simple) and kind._type_ in _POINTERS)
    )


class Types:
    """The translation for one data model; each type once."""

    def __init__(self, model: DataModel) -> None:
        self.model = model
        self._known: dict[Any, CType] = {None: VOID}

    def of(self, kind: Any) -> CType:
        """The guest's type. Unsupported for what has no counterpart."""
        found = self._known.get(kind)
        if found is None:
            found = self._known[kind] = self._make(kind)
        return found

    def _make(self, kind: Any) -> CType:
        model = self.model
        if not isinstance(kind, type):
            raise TypeError(f"{kind!r} is no type of ctypes")
        if issubclass(kind, LongLong | UnsignedLongLong):
            return model.integer(8, signed=issubclass(kind, LongLong))
        if is_pointer(kind):
            return model.pointer
        if issubclass(kind, Simple):
            return self._simple(kind)
        if issubclass(kind, ctypes.Array):
            count: Any = kind._length_
            return model.array(self.of(kind._type_), count)
        if issubclass(kind, ctypes.Structure):
            return model.structure(self._fields(kind), pack=getattr(kind, "_pack_", 0))
        if issubclass(kind, ctypes.Union):
            return model.union(self._fields(kind))
        raise Unsupported(f"{kind.__name__} as a type of another CPU's function")

    def _simple(self, kind: Any) -> CType:
        letter: str = kind._type_
        if letter == "c":
            return self.model.integer(1, signed=False)
        if letter in "fd":
            return self.model.real(4 if letter == "f" else 8)
        if letter == "g":
            return self.model.real(16)
        if letter not in _INTEGERS:
            raise Unsupported(f"{kind.__name__} as a type of another CPU's function")
        size, signed = _INTEGERS[letter]
        return self.model.integer(size or self.model.word, signed=signed)

    def _fields(self, kind: Any) -> list[tuple[str, CType]]:
        found: list[tuple[str, CType]] = []
        for base in kind.__mro__[::-1]:
            for field in base.__dict__.get("_fields_", ()):
                if len(field) > 2:
                    raise Unsupported(
                        f"{kind.__name__}.{field[0]}: bit-fields in structures of another CPU"
                    )
                found.append((field[0], self.of(field[1])))
        return found


def fields_of(kind: Any) -> list[tuple[str, Any]]:
    """The fields of a structure, those of its bases first."""
    return [(f[0], f[1]) for base in kind.__mro__[::-1] for f in base.__dict__.get("_fields_", ())]

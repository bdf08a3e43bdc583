"""Types of ctypes as another CPU's compiler lays them out.

ctypes knows the types of the CPU that it runs on. Here only their names count: ``c_long`` is the guest's ``long``, 4 bytes on a
32-bit one, ``c_void_p`` its pointer. On this machine ctypes has one object for ``long`` and ``long long`` (and ``int64_t``); it stands for
``long``. ``LongLong`` and ``UnsignedLongLong`` are 8 bytes everywhere; declarations in C (``cdef``) use them. ctypes has no bit-fields of
such classes: a structure's ``_wide_`` has the names of bit-fields that are ``long long`` and not ``long``.
"""

from __future__ import annotations

import ctypes

from rtld.arch.ctype import VOID
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.arch.ctype import CType, DataModel, Field


_Simple: Any = ctypes.c_int.__mro__[
    1
]  # its own children are read as Python's numbers, in structures, too


class LongLong(_Simple):  # type: ignore[misc]
    """``long long`` and ``int64_t``."""

    _type_ = "q"


class UnsignedLongLong(_Simple):  # type: ignore[misc]
    """``unsigned long long`` and ``uint64_t``."""

    _type_ = "Q"


class FloatComplex(ctypes.Structure):
    """``float _Complex``. As arguments and results these three are Python's ``complex``."""

    _fields_ = (("real", ctypes.c_float), ("imag", ctypes.c_float))


class DoubleComplex(ctypes.Structure):
    """``double _Complex``."""

    _fields_ = (("real", ctypes.c_double), ("imag", ctypes.c_double))


class LongDoubleComplex(ctypes.Structure):
    """``long double _Complex``."""

    _fields_ = (("real", ctypes.c_longdouble), ("imag", ctypes.c_longdouble))


class Int128(ctypes.Structure):
    """``__int128``: an ``int`` as an argument or result; as a member ``.value`` is read and set."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_int64))

    @property
    def value(self) -> int:
        """The number."""
        return int(self.high << 64 | self.low)

    @value.setter
    def value(self, number: int) -> None:
        self.low = number & (1 << 64) - 1
        self.high = number >> 64


class UnsignedInt128(Int128):
    """``unsigned __int128``."""

    @property
    def value(self) -> int:
        """The number."""
        return super().value & (1 << 128) - 1

    @value.setter
    def value(self, number: int) -> None:
        self.low = number & (1 << 64) - 1
        self.high = (number >> 64) & (1 << 64) - 1


_vectors: dict[tuple[Any, int], Any] = {}


def vector(element: Any, count: int) -> Any:
    """The type of SIMD vectors of *count* elements: of 8 or 16 bytes, as gcc's ``vector_size``. A sequence of numbers is one."""
    found = _vectors.get((element, count))
    if found is None:
        name = f"{element.__name__}x{count}"
        found = type(
            name, (ctypes.Array,), {"_type_": element, "_length_": count, "_vector_": True}
        )
        _vectors[element, count] = found
    return found


def is_vector(kind: Any) -> bool:
    """Made by ``vector``."""
    return isinstance(kind, type) and "_vector_" in kind.__dict__


COMPLEX: tuple[Any, ...] = (FloatComplex, DoubleComplex, LongDoubleComplex)


class WideChar(_Simple):  # type: ignore[misc]
    """``wchar_t`` as a number."""

    _type_ = "I"


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

    def _make(self, given: Any) -> CType:
        model = self.model
        if not isinstance(given, type):
            raise TypeError(f"{given!r} is no type of ctypes")
        kind: Any = given
        if issubclass(kind, LongLong | UnsignedLongLong):
            return model.integer(8, signed=issubclass(kind, LongLong))
        if is_pointer(kind):
            return model.pointer
        if issubclass(kind, Simple):
            return self._simple(kind)
        if issubclass(kind, COMPLEX):
            return model.complex(self.of(kind._fields_[0][1]))
        if issubclass(kind, Int128):
            return model.wide(signed=not issubclass(kind, UnsignedInt128))
        if is_vector(kind):
            return model.vector(self.of(kind._type_), kind._length_)
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

    def _fields(self, kind: Any) -> list[Field]:
        fields: list[Any] = []
        for base in kind.__mro__[::-1]:
            wide = base.__dict__.get("_wide_", ())
            for name, inner, *width in base.__dict__.get("_fields_", ()):
                made = self.of(inner)
                if name in wide:
                    made = self.model.integer(8, signed=made.signed)
                if width and not 0 < width[0] <= 8 * made.size:
                    raise Unsupported(
                        f"{kind.__name__}.{name}: a bit-field of {width[0]} bits in a type of {8 * made.size}",
                        "long long is said by _wide_ (see rtld.process.foreign.types)",
                    )
                fields.append((name, made, *width))
        return fields


def fields_of(kind: Any) -> list[tuple[str, Any]]:
    """The fields of a structure, those of its bases first."""
    return [(f[0], f[1]) for base in kind.__mro__[::-1] for f in base.__dict__.get("_fields_", ())]

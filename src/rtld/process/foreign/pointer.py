"""Addresses in the guest's memory, with the type of what is there."""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.process.foreign.convert import Converter


class GuestPointer:
    """What ``POINTER(T)`` is for memory of the guest: ``p[0]``, ``p[i] = value``, ``p.contents`` (a copy), ``p.address``."""

    __slots__ = ("_converter", "address", "kind")

    def __init__(self, converter: Converter, address: int, kind: Any) -> None:
        self._converter = converter
        self.address = address
        self.kind = kind

    def __repr__(self) -> str:
        name = getattr(self.kind, "__name__", "void")
        return f"<pointer to {name} at {self.address:#x} of {self._converter.name}>"

    def __bool__(self) -> bool:
        return self.address != 0

    def __int__(self) -> int:
        return self.address

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GuestPointer):
            return self.address == other.address and self._converter is other._converter
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.address)

    def _at(self, index: int) -> int:
        if not self.address:
            raise ValueError("NULL pointer access")
        return self.address + index * self._converter.types.of(self.kind).size

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            if index.stop is None:
                raise ValueError("slice stop is required")
            places = range(index.start or 0, index.stop, index.step or 1)
            values = [self[i] for i in places]
            return b"".join(values) if self.kind is ctypes.c_char else values
        return self._converter.load(self.kind, self._at(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self._converter.store(self.kind, self._at(index), value)

    @property
    def value(self) -> Any:
        """What it leads to; may be set."""
        return self[0]

    @value.setter
    def value(self, value: Any) -> None:
        self[0] = value

    @property
    def contents(self) -> Any:
        """A copy of what it leads to, as an object of ctypes. ``p[0] = object`` puts it back."""
        value = self[0]
        return value if isinstance(value, self.kind) else self.kind(value)

    def offset(self, count: int) -> GuestPointer:
        """The pointer to the element so many places further."""
        return GuestPointer(self._converter, self._at(count), self.kind)

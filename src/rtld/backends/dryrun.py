"""Addresses, and nothing else: reports, checks and most tests link against this space. It refuses to execute."""

from __future__ import annotations

import bisect

from rtld.errors import NoSpace, Unsupported

#: Where Linux puts a position-independent program and its libraries without address randomisation (x86-64).
PROGRAM_BASE = 0x5555_5555_4000
LIBRARY_TOP = 0x7FFF_F7FF_F000
LOW_PROGRAM_BASE = 0x5655_5000
LOW_LIBRARY_TOP = 0xF7FF_F000


class DryRun:
    """An address space that only counts: the first range from the program's base up, all others from the top down."""

    def __init__(self, bits: int = 64) -> None:
        self.bits = bits
        self._first = True
        self._top = LIBRARY_TOP if bits == 64 else LOW_LIBRARY_TOP
        self._floor = 0x1000_0000

    def reserve(self, size: int, align: int, at: int | None = None) -> int:
        """Addresses for ``size`` bytes; ``at`` is taken as it is."""
        if at is not None:
            self._first = False
            return at
        if self._first:
            self._first = False
            base = PROGRAM_BASE if self.bits == 64 else LOW_PROGRAM_BASE
            return base + -base % align
        self._top = (self._top - size) & -align
        if self._top < self._floor:
            raise NoSpace(f"no {self.bits}-bit addresses left for {size:#x} bytes")
        return self._top

    def call(self, address: int, *_args: int) -> int:
        raise Unsupported(f"nothing is run here, so the function at {address:#x} cannot be called")


class Occupied:
    """An address space that remembers what it has given: Windows' images ask for a certain place, which may be taken."""

    def __init__(self, bits: int = 64) -> None:
        self.bits = bits
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._next = 0x7FF8_0000_0000 if bits == 64 else 0x7000_0000
        self._floor = 0x1_0000_0000 if bits == 64 else 0x1_0000

    def reserve(self, size: int, align: int, at: int | None = None) -> int:
        """Exactly ``at`` (NoSpace when somebody has it), else from the top down."""
        if at is None:
            at = (self._next - size) & -align
            while at >= self._floor and (taken := self._overlap(at, size)) is not None:
                at = (taken - size) & -align
            if at < self._floor:
                raise NoSpace(f"no {self.bits}-bit addresses left for {size:#x} bytes")
            self._next = at
        elif self._overlap(at, size) is not None:
            raise NoSpace(f"{at:#x} to {at + size:#x} is not free")
        place = bisect.bisect_left(self._starts, at)
        self._starts.insert(place, at)
        self._ends.insert(place, at + size)
        return at

    def _overlap(self, at: int, size: int) -> int | None:
        """The start of a range that is in the way."""
        place = bisect.bisect_left(self._starts, at + size) - 1
        if place >= 0 and self._ends[place] > at:
            return self._starts[place]
        return None

"""What a file of the text object format says: segments, symbols, relocations. No addresses are chosen here.

    LINK [library...]                 or LINKLIB [library...] for a shared library (project 10-1)
    nsegs nsyms nrels [more...]       decimal; we know one more word, the byte order: little or big
    name start length flags           a segment: hex; R readable, W writable, P data present
    name value segment type           a symbol: hex, number of its segment or 0; D defined, U undefined
    loc segment ref type [more...]    a relocation: hex offset in its segment; ref is a number from 1
    hex digits                        the data of each segment with P, in order

A symbol that is undefined with a value is a common block of that size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1 << 32
"""Addresses have 32 bits."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of bytes with a name. ``data`` is empty where the flags have no P."""

    name: str
    start: int
    length: int
    flags: str
    data: bytes = b""
    line: int = field(default=0, compare=False)

    @property
    def present(self) -> bool:
        """The file has its bytes."""
        return "P" in self.flags

    @property
    def writable(self) -> bool:
        """It can be changed while the program runs."""
        return "W" in self.flags

    @property
    def end(self) -> int:
        """The address behind the last byte."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name with a value. ``segment`` counts from 1; 0 is absolute, or undefined."""

    name: str
    value: int
    segment: int
    type: str
    line: int = field(default=0, compare=False)

    @property
    def defined(self) -> bool:
        """This file defines it."""
        return "D" in self.type

    @property
    def common(self) -> bool:
        """A common block: undefined, and its value is the size that is wanted."""
        return not self.defined and self.value > 0


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place to be changed: ``loc`` bytes into ``segment``; ``ref`` is a segment's or symbol's number."""

    loc: int
    segment: int
    ref: int
    type: str
    extra: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TextObject:
    """A decoded file: an object, an executable (``LINK``) or a shared library (``LINKLIB``)."""

    segments: tuple[Segment, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    relocations: tuple[Relocation, ...] = ()
    magic: str = "LINK"
    needed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    path: str = field(default="", compare=False)

    @property
    def order(self) -> str | None:
        """``<`` or ``>`` where the second line says so."""
        for word in self.extra:
            if word in ORDERS:
                return ORDERS[word]
        return None

    @property
    def is_library(self) -> bool:
        """A shared library of project 10-1."""
        return self.magic == "LINKLIB"

    @property
    def span(self) -> tuple[int, int]:
        """The lowest address and the address behind the highest; (0, 0) without segments."""
        if not self.segments:
            return 0, 0
        return min(s.start for s in self.segments), max(s.end for s in self.segments)

    @property
    def exports(self) -> Iterator[Symbol]:
        """The symbols it defines."""
        return (symbol for symbol in self.symbols if symbol.defined)

    def segment_named(self, name: str) -> Segment | None:
        """The first segment of that name."""
        return next((segment for segment in self.segments if segment.name == name), None)

    def find(self, name: str) -> Symbol | None:
        """Its definition of a name."""
        return next((symbol for symbol in self.exports if symbol.name == name), None)


ORDERS = {"little": "<", "big": ">"}
"""The byte order as the second line of a file, and --endian, say it."""


def order_word(order: str) -> tuple[str, ...]:
    """What to add to the second line: big is what a file without a word means."""
    return ("little",) if order == "<" else ()

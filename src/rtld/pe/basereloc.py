"""Base relocations: what changes in an image that is not at its preferred base ("PE Format", .reloc).

Blocks of 16-bit entries, one block a page: 4 bits of type, 12 of offset. All become two columns; a type is applied to all
its places at once. What changes instructions is another CPU's each time (``basereloc_cpu.py``), and applied one by one.
"""

from __future__ import annotations

import struct

import numpy as np

from rtld.errors import Unknown
from rtld.pe import types as t
from rtld.pe.basereloc_cpu import KINDS, move

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtld.pe.columns import Array
    from rtld.pe.file import PeFile

_BLOCK = struct.Struct("<II")
_WHAT = "base relocation directory"
# fmt: off
#: type -> bytes that it changes
WIDTHS = {
    t.IMAGE_REL_BASED_HIGH: 2, t.IMAGE_REL_BASED_LOW: 2, t.IMAGE_REL_BASED_HIGHLOW: 4, t.IMAGE_REL_BASED_HIGHADJ: 2,
    t.IMAGE_REL_BASED_DIR64: 8,
}
# fmt: on


class BaseRelocs:
    """``type`` uint8[n] and ``rva`` int64[n] of every entry but padding; ``low`` int32[n]: HIGHADJ's second half."""

    __slots__ = ("low", "machine", "rva", "type")

    def __init__(self, kinds: Array, rvas: Array, low: Array, machine: int = 0) -> None:
        self.machine = machine
        self.type = kinds
        self.rva = rvas
        self.low = low

    def __len__(self) -> int:
        return len(self.rva)

    def counts(self) -> dict[str, int]:
        """How many there are of each type, by name."""
        numbers = np.bincount(self.type, minlength=16).tolist()
        own = {n: f"IMAGE_REL_BASED_{k.name}" for n, k in KINDS.get(self.machine, {}).items()}
        names = t.BASED_NAMES | own
        return {names.get(kind, f"type {kind}"): n for kind, n in enumerate(numbers) if n}


def base_relocs(file: PeFile) -> BaseRelocs:
    """The base relocations of a file, decoded once. FormatError for a type or place that cannot be."""
    found = file.cache.get("base relocs")
    if found is None:
        found = file.cache["base relocs"] = _decode(file)
    return found  # type: ignore[return-value]


def _decode(file: PeFile) -> BaseRelocs:
    entries, pages, counts = _blocks(file)
    if not len(entries):
        nothing = np.zeros(0, np.int64)
        return BaseRelocs(nothing.astype(np.uint8), nothing, nothing.astype(np.int32))
    kinds = (entries >> 12).astype(np.uint8)
    rvas = np.repeat(pages, counts) + (entries & 0xFFF)
    low = np.zeros(len(kinds), np.int32)
    pairs = np.flatnonzero(kinds == t.IMAGE_REL_BASED_HIGHADJ)
    keep = kinds != t.IMAGE_REL_BASED_ABSOLUTE
    for place in pairs.tolist():  # the entry behind a HIGHADJ is the low half of its addend
        if not keep[place] or kinds[place] != t.IMAGE_REL_BASED_HIGHADJ:
            continue
        if place + 1 == len(kinds):
            raise file.fail(_WHAT, "HIGHADJ", "the last entry", "one more entry, its low half")
        low[place] = np.int16(entries[place + 1].astype(np.int16))
        keep[place + 1] = False
        kinds[place + 1] = 0
    kinds, rvas, low = kinds[keep], rvas[keep], low[keep]
    widths = WIDTHS | {n: kind.width for n, kind in KINDS.get(file.machine, {}).items()}
    for kind in np.flatnonzero(np.bincount(kinds, minlength=16)).tolist():
        if kind not in widths:
            file.complain(_WHAT, "type", kind, f"one of {', '.join(map(str, sorted(widths)))}")
            continue
        worst = int(rvas[kinds == kind].max())
        if worst + widths[kind] > file.size_of_image:
            raise file.fail(_WHAT, "RVA", worst, f"less than SizeOfImage {file.size_of_image:#x}")
    return BaseRelocs(kinds, rvas, low, file.machine)


def _blocks(file: PeFile) -> tuple[Array, Array, list[int]]:
    """(uint16 entries, page of each block, number of entries of each block)."""
    directory = file.directory(t.BASERELOC)
    pages: list[int] = []
    counts: list[int] = []
    if directory is None or directory.size == 0:
        return np.zeros(0, np.uint16), np.zeros(0, np.int64), counts
    start, left = file.room(directory.rva, _WHAT)
    if directory.size > left:
        file.complain(_WHAT, "size", directory.size, f"at most {left:#x}")
    end = min(directory.size, left)
    octets = file.data[start : start + end]
    pieces = []
    at = 0
    while at + _BLOCK.size <= end:
        page, size = _BLOCK.unpack_from(octets, at)
        if size < _BLOCK.size or at + size > end:
            if page or size:  # zeros behind the last block are padding
                file.complain(_WHAT, "SizeOfBlock", size, f"8 to {end - at:#x}")
            break
        pages.append(page)
        counts.append((size - _BLOCK.size) // 2)
        pieces.append(octets[at + _BLOCK.size : at + _BLOCK.size + 2 * counts[-1]])
        at += size
    return np.frombuffer(b"".join(pieces), "<u2"), np.array(pages, np.int64), counts


def directory_with(file: PeFile, places: Iterable[int]) -> bytes:
    """The directory's bytes with one more relocation, as wide as an address, at each of these RVAs."""
    directory = file.directory(t.BASERELOC)
    old = b""
    if directory is not None and directory.size:
        start, left = file.room(directory.rva, _WHAT)
        octets = file.data[start : start + min(directory.size, left)]
        at = 0
        while at + _BLOCK.size <= len(octets):
            _, size = _BLOCK.unpack_from(octets, at)
            if size < _BLOCK.size or at + size > len(octets):
                break  # zeros behind the last block
            at += size
        old = bytes(octets[:at]) + bytes(-at % 4)
    kind = t.IMAGE_REL_BASED_DIR64 if file.bits == 64 else t.IMAGE_REL_BASED_HIGHLOW
    pages: dict[int, list[int]] = {}
    for place in sorted(places):
        pages.setdefault(place & -0x1000, []).append(kind << 12 | place & 0xFFF)
    for page, entries in pages.items():
        entries += [0] * (len(entries) % 2)  # IMAGE_REL_BASED_ABSOLUTE: padding
        old += struct.pack(f"<II{len(entries)}H", page, 8 + 2 * len(entries), *entries)
    return old


def apply(file: PeFile, image: Array, delta: int) -> dict[str, int]:
    """Move an image (uint8[SizeOfImage]) by ``delta`` bytes. Returns the number of relocations of each type."""
    relocs = base_relocs(file)
    if delta == 0 or not len(relocs):
        return relocs.counts() if delta else {}
    own = KINDS.get(file.machine, {})
    rest = [row for row in zip(relocs.type.tolist(), relocs.rva.tolist(), strict=True) if row[0] in own] if own else []  # fmt: skip
    move(file.name, own, rest, image, delta)
    for kind in np.flatnonzero(np.bincount(relocs.type, minlength=16)).tolist():
        if kind in own:
            continue
        rows = relocs.type == kind
        places = relocs.rva[rows]
        if kind in (t.IMAGE_REL_BASED_DIR64, t.IMAGE_REL_BASED_HIGHLOW):
            _add(image, places, WIDTHS[kind], delta)
        elif kind == t.IMAGE_REL_BASED_LOW:
            _add(image, places, 2, delta & 0xFFFF)
        elif kind == t.IMAGE_REL_BASED_HIGH:
            _add(image, places, 2, delta >> 16 & 0xFFFF)
        elif kind == t.IMAGE_REL_BASED_HIGHADJ:
            high = _gather(image, places, 2).astype(np.int64) << 16
            value = high + relocs.low[rows] + delta + 0x8000
            _scatter(image, places, (value >> 16 & 0xFFFF).astype(np.uint64), 2)
        else:
            raise Unknown(file.name, f"base relocation of type {kind} at {int(places[0]):#x}")
    return relocs.counts()


def _gather(image: Array, places: Array, width: int) -> Array:
    value = np.zeros(len(places), np.uint64)
    for byte in range(width):
        value |= image[places + byte].astype(np.uint64) << np.uint64(8 * byte)
    return value


def _scatter(image: Array, places: Array, value: Array, width: int) -> None:
    for byte in range(width):
        image[places + byte] = (value >> np.uint64(8 * byte)).astype(np.uint8)


def _add(image: Array, places: Array, width: int, delta: int) -> None:
    """Add to many fields. Fields of one type never overlap in what linkers write; one after the other where they do."""
    step = np.uint64(delta & (1 << 64) - 1)
    if len(places) > 1 and int(np.diff(np.sort(places)).min()) < width:
        for place in places.tolist():
            one = np.array([place])
            _scatter(image, one, _gather(image, one, width) + step, width)
        return
    _scatter(image, places, _gather(image, places, width) + step, width)

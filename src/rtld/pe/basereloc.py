"""Base relocations: what changes in an image that is not at its preferred base ("PE Format", .reloc).

Blocks of 16-bit entries, one block a page: 4 bits of type, 12 of offset. All become two columns; a type is applied to all
its places at once. The types of ARM (MOV32, THUMB_MOV32) rewrite the immediate of a MOVW/MOVT pair.
"""

from __future__ import annotations

import struct

import numpy as np

from rtld.errors import RelocationError, Unknown
from rtld.pe import types as t

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
    t.IMAGE_REL_BASED_ARM_MOV32: 8, t.IMAGE_REL_BASED_THUMB_MOV32: 8, t.IMAGE_REL_BASED_DIR64: 8,
}
# fmt: on
_ARM_ONLY = (t.IMAGE_REL_BASED_ARM_MOV32, t.IMAGE_REL_BASED_THUMB_MOV32)


class BaseRelocs:
    """``type`` uint8[n] and ``rva`` int64[n] of every entry but padding; ``low`` int32[n]: HIGHADJ's second half."""

    __slots__ = ("low", "rva", "type")

    def __init__(self, kinds: Array, rvas: Array, low: Array) -> None:
        self.type = kinds
        self.rva = rvas
        self.low = low

    def __len__(self) -> int:
        return len(self.rva)

    def counts(self) -> dict[str, int]:
        """How many there are of each type, by name."""
        numbers = np.bincount(self.type, minlength=16).tolist()
        return {t.BASED_NAMES.get(kind, f"type {kind}"): n for kind, n in enumerate(numbers) if n}


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
    arm = file.arch == "arm"
    for kind in np.flatnonzero(np.bincount(kinds, minlength=16)).tolist():
        if kind not in WIDTHS or (kind in _ARM_ONLY and not arm):
            file.complain(_WHAT, "type", kind, f"one of {', '.join(map(str, sorted(WIDTHS)))}")
            continue
        worst = int(rvas[kinds == kind].max())
        if worst + WIDTHS[kind] > file.size_of_image:
            raise file.fail(_WHAT, "RVA", worst, f"less than SizeOfImage {file.size_of_image:#x}")
    return BaseRelocs(kinds, rvas, low)


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
    for kind in np.flatnonzero(np.bincount(relocs.type, minlength=16)).tolist():
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
        elif kind in _ARM_ONLY and file.arch == "arm":
            _move_pairs(file, image, places, delta, thumb=kind == t.IMAGE_REL_BASED_THUMB_MOV32)
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


# -- MOVW, MOVT -----------------------------------------------------------------------------------


def _move_pairs(file: PeFile, image: Array, places: Array, delta: int, *, thumb: bool) -> None:
    split, join = (_thumb_split, _thumb_join) if thumb else (_arm_split, _arm_join)
    for place in places.tolist():
        code = bytes(image[place : place + 8])
        first, second = struct.unpack("<II", code)
        value = split(first) | split(second) << 16
        if (thumb and first & 0xFBF0 != 0xF240) or (not thumb and first & 0x0FF00000 != 0x03000000):
            raise RelocationError(f"{file.name}: {place:#x}", "no MOVW stands there")
        value = (value + delta) & 0xFFFFFFFF
        image[place : place + 8] = np.frombuffer(
            struct.pack("<II", join(first, value & 0xFFFF), join(second, value >> 16)), np.uint8
        )


def _thumb_split(word: int) -> int:
    """imm4:i:imm3:imm8 of a Thumb-2 MOVW or MOVT; the first halfword is the low one."""
    high, low = word & 0xFFFF, word >> 16
    return (high & 15) << 12 | (high >> 10 & 1) << 11 | (low >> 12 & 7) << 8 | low & 0xFF


def _thumb_join(word: int, value: int) -> int:
    high = word & 0xFBF0 | value >> 12 | (value >> 11 & 1) << 10
    low = word >> 16 & 0x8F00 | (value >> 8 & 7) << 12 | value & 0xFF
    return high | low << 16


def _arm_split(word: int) -> int:
    """imm4:imm12 of an ARM MOVW or MOVT."""
    return word >> 4 & 0xF000 | word & 0xFFF


def _arm_join(word: int, value: int) -> int:
    return word & 0xFFF0F000 | (value & 0xF000) << 4 | value & 0xFFF

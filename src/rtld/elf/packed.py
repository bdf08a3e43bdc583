"""Compact relocation encodings: DT_RELR (gABI, generic since 2022) and Android's APS2 (bionic, sleb128 groups)."""

from __future__ import annotations

import struct

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from rtld.elf.file import ElfFile

PACKED_MAGIC = b"APS2"

# Group flags of APS2.
_BY_INFO, _BY_OFFSET_DELTA, _BY_ADDEND, _HAS_ADDEND = 1, 2, 4, 8


def unpack_relr(entries: NDArray[Any], word: int, file: ElfFile) -> NDArray[np.uint64]:
    """The addresses (p_vaddr space) that DT_RELR covers, ascending as written.

    An even entry is an address; an odd one a bitmap over the next 8*word-1 words after the last one covered.
    """
    values = entries.astype(np.uint64)
    if not len(values):
        return values
    bitmap = (values & np.uint64(1)) != 0
    if bitmap[0]:
        raise file.fail("DT_RELR", "first entry", int(values[0]), "an address, so even")
    span = np.uint64((8 * word - 1) * word)
    # Where the bitmap at i begins: after the last address entry, plus one full span for each bitmap since.
    index = np.arange(len(values))
    anchor = np.maximum.accumulate(np.where(bitmap, 0, index))
    start = values[anchor] + np.uint64(word) + (index - anchor - 1).astype(np.uint64) * span
    bits = np.unpackbits(
        (values[bitmap] >> np.uint64(1)).astype("<u8").view(np.uint8).reshape(-1, 8),
        axis=1,
        bitorder="little",
    )
    rows, columns = np.nonzero(bits)
    covered = start[bitmap][rows] + columns.astype(np.uint64) * np.uint64(word)
    # Merge in the order written: each address entry, then what its bitmaps cover.
    keys = np.concatenate([index[~bitmap], np.flatnonzero(bitmap)[rows]])
    places = np.concatenate([values[~bitmap], covered])
    return places[np.argsort(keys, kind="stable")]


def pack_relr(addresses: NDArray[Any], word: int = 8) -> NDArray[np.uint64]:
    """DT_RELR's entries for these ascending addresses, each even: what ``unpack_relr`` takes apart."""
    out: list[int] = []
    every = addresses.tolist()
    span = (8 * word - 1) * word
    at, count = 0, len(every)
    while at < count:
        start = every[at]
        out.append(start)
        at += 1
        start += word
        while True:
            bits = 0
            while at < count and every[at] - start < span and not (every[at] - start) % word:
                bits |= 1 << (every[at] - start) // word
                at += 1
            if not bits:
                break
            out.append(bits << 1 | 1)
            start += span
    return np.array(out, np.uint64)


class _Sleb:
    """A reader of signed LEB128 numbers."""

    def __init__(self, data: bytes, file: ElfFile) -> None:
        self.data = data
        self.at = 0
        self.file = file

    def next(self) -> int:
        value = shift = 0
        while True:
            if self.at >= len(self.data) or shift > 63:
                raise self.file.fail(
                    "DT_ANDROID_REL", "sleb128", f"unterminated at byte {self.at}", "a number"
                )
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value - (1 << shift) if byte & 0x40 else value


def unpack_aps2(data: bytes, rela: bool, file: ElfFile) -> bytes:
    """The relocations of an APS2 table (after its magic) as a plain REL or RELA table in the file's own layout."""
    reader = _Sleb(data, file)
    total, offset = reader.next(), reader.next()
    # Inside a group with everything shared an entry costs no bytes at all: the file's size bounds nothing, so cap it
    # by what the image could hold, one relocation for each word.
    room = max(1, sum(load.memsz for load in file.loads) // 4)
    if not 0 <= total <= room:
        raise file.fail("DT_ANDROID_REL", "number of relocations", total, f"at most {room}")
    wide = file.bits == 64
    mask = (1 << file.bits) - 1
    form = struct.Struct(
        file.order + (("QQQ" if wide else "III") if rela else ("QQ" if wide else "II"))
    )
    out = bytearray()
    addend = 0
    done = 0
    while done < total:
        count, flags = reader.next(), reader.next()
        if not 0 < count <= total - done:
            raise file.fail("DT_ANDROID_REL", "group size", count, f"1 to {total - done}")
        delta = reader.next() if flags & _BY_OFFSET_DELTA else 0
        info = reader.next() if flags & _BY_INFO else 0
        if not flags & _HAS_ADDEND:
            addend = 0
        elif flags & _BY_ADDEND:
            addend += reader.next()
        for _ in range(count):
            offset += delta if flags & _BY_OFFSET_DELTA else reader.next()
            if not flags & _BY_INFO:
                info = reader.next()
            if flags & _HAS_ADDEND and not flags & _BY_ADDEND:
                addend += reader.next()
            row = (offset & mask, info & mask, addend & mask)
            out += form.pack(*row[: 3 if rela else 2])
        done += count
    return bytes(out)

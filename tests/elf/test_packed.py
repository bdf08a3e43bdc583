"""Packed relocations, encoded here and decoded by rtld."""

from __future__ import annotations

import struct
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtld.elf.packed import unpack_aps2, unpack_relr
from rtld.errors import FormatError

Load = namedtuple("Load", "memsz")


class File:
    """As much of an ElfFile as the decoders look at."""

    def __init__(self, bits: int = 64, order: str = "<") -> None:
        self.bits = bits
        self.order = order
        self.loads = [Load(1 << 20)]

    def fail(self, structure: str, field: str, found: object, expected: object) -> FormatError:
        return FormatError("test", structure, field, found, expected)


def file(bits: int = 64, order: str = "<") -> Any:
    return File(bits, order)


def encode_relr(places: Sequence[int], word: int) -> list[int]:
    """gABI, "Relative relocation table": an address, then bitmaps of the words that follow it."""
    entries = []
    index = 0
    while index < len(places):
        entries.append(places[index])
        base = places[index] + word
        index += 1
        while True:
            bitmap = 0
            while index < len(places):
                delta = places[index] - base
                if delta >= (8 * word - 1) * word or delta % word:
                    break
                bitmap |= 1 << (delta // word)
                index += 1
            if not bitmap:
                break
            entries.append(bitmap << 1 | 1)
            base += (8 * word - 1) * word
    return entries


@given(
    st.sampled_from([4, 8]),
    # Gaps in words: dense runs, runs of a bitmap's length, and jumps.
    st.lists(
        st.one_of(st.integers(1, 3), st.integers(30, 70), st.integers(200, 5000)), max_size=200
    ),
    st.integers(0, 1000),
)
def test_relr(word: int, gaps: list[int], start: int) -> None:
    places = [int(p) for p in word * (start + np.cumsum([0, *gaps]))]
    entries = np.array(encode_relr(places, word), f"<u{word}")
    assert unpack_relr(entries, word, file(8 * word)).tolist() == places
    swapped = entries.astype(f">u{word}")
    assert unpack_relr(swapped, word, file(8 * word, ">")).tolist() == places


def test_relr_of_empty_bitmaps() -> None:
    """A bitmap without bits still moves on by its span."""
    entries = np.array([0x1000, 1, 1, 3], "<u8")
    assert unpack_relr(entries, 8, file()).tolist() == [0x1000, 0x1008 + 2 * 63 * 8]
    assert unpack_relr(np.empty(0, "<u8"), 8, file()).tolist() == []


def test_relr_beginning_with_a_bitmap() -> None:
    with pytest.raises(FormatError, match="first entry"):
        unpack_relr(np.array([3, 0x1000], "<u8"), 8, file())


def sleb(value: int) -> bytes:
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if value == (-1 if byte & 0x40 else 0):
            return bytes([*out, byte])
        out.append(byte | 0x80)


# One group: which of its columns are shared, and its rows (offset step, info, addend step).
STEP = st.integers(-(1 << 20), 1 << 20)
INFO = st.integers(0, (1 << 40) - 1)
GROUP = st.tuples(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(STEP, INFO, STEP), min_size=1, max_size=12),
)


@given(st.lists(GROUP, max_size=8), st.booleans(), st.integers(0, 1 << 30))
def test_aps2(groups: list[Any], order_big: bool, start: int) -> None:
    """bionic, linker_reloc_iterators.h: groups whose columns may be shared, differences as signed LEB128."""
    order = ">" if order_big else "<"
    total = sum(len(rows) for *_, rows in groups)
    data = sleb(total) + sleb(start)
    expected = []
    offset, addend = start, 0
    for by_info, by_delta, by_addend, has_addend, rows in groups:
        flags = by_info | by_delta << 1 | by_addend << 2 | has_addend << 3
        data += sleb(len(rows)) + sleb(flags)
        first = rows[0]
        if by_delta:
            data += sleb(first[0])
        if by_info:
            data += sleb(first[1])
        if not has_addend:
            addend = 0
        elif by_addend:
            data += sleb(first[2])
            addend += first[2]
        for step, info, more in rows:
            offset += first[0] if by_delta else step
            data += b"" if by_delta else sleb(step)
            data += b"" if by_info else sleb(info)
            if has_addend and not by_addend:
                addend += more
                data += sleb(more)
            mask = (1 << 64) - 1
            expected.append((offset & mask, first[1] if by_info else info, addend & mask))
    rela = unpack_aps2(data, True, file(64, order))
    assert list(struct.iter_unpack(order + "QQQ", rela)) == expected
    rel = unpack_aps2(data, False, file(64, order))
    assert list(struct.iter_unpack(order + "QQ", rel)) == [row[:2] for row in expected]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (sleb(1 << 40) + sleb(0), "number of relocations"),
        (sleb(-1) + sleb(0), "number of relocations"),
        (sleb(2) + sleb(0) + sleb(3) + sleb(0), "group size"),
        (sleb(2) + sleb(0) + sleb(0) + sleb(0), "group size"),
        (sleb(1) + sleb(0) + sleb(1) + sleb(0) + b"\x80", "sleb128"),
        (b"\xff" * 12, "sleb128"),
    ],
)
def test_malformed_aps2(data: bytes, field: str) -> None:
    with pytest.raises(FormatError) as caught:
        unpack_aps2(data, True, file())
    assert caught.value.field == field

"""Hashing and comparing many names at once equals doing it one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elf.specimens import native
from rtld.elf.file import ElfFile
from rtld.elf.flat import position
from rtld.elf.hash import Names, Strings, hash_names, same_bytes, sysv_hash
from rtld.elf.scalar import gnu_hash
from rtld.elf.tables import chains, symbols, tables

# Names of every length up to several words, of few letters, so that many are equal or begin or end alike.
LETTERS = st.sampled_from(b"ab\x80\xff_Z")
NAMES = st.lists(st.lists(LETTERS, max_size=40).map(bytes), min_size=1, max_size=60)


class Table:
    """Names as a string table, with room around it: names are read by words."""

    def __init__(self, names: list[bytes]) -> None:
        self.data = bytes(16) + b"\0" + b"\0".join(names) + b"\0" + bytes(16)
        self.start = position(memoryview(self.data)) + 16
        self.size = len(self.data) - 32
        lengths = [len(name) for name in names]
        offsets = 1 + np.cumsum([0, *(length + 1 for length in lengths)])[:-1]
        self.positions: NDArray[np.int64] = self.start + offsets.astype(np.int64)
        self.lengths: NDArray[np.int64] = np.array(lengths, np.int64)


@given(NAMES)
def test_gnu_hashes(names: list[bytes]) -> None:
    table = Table(names)
    got = hash_names(table.positions.copy(), table.lengths.copy())
    assert got.tolist() == [gnu_hash(name) for name in names]


@given(NAMES)
def test_lengths(names: list[bytes]) -> None:
    table = Table(names)
    strings = Strings([(table.start, table.size)])
    assert strings.lengths(table.positions).tolist() == table.lengths.tolist()
    # A name may be the end of another one.
    inner = np.minimum(table.positions + 1, table.positions + table.lengths)
    expected = np.maximum(table.lengths - 1, 0).tolist()
    assert strings.lengths(inner).tolist() == expected


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_lengths_in_several_tables(parts: list[list[bytes]]) -> None:
    several = [Table(names) for names in parts]
    strings = Strings([(t.start, t.size) for t in several])
    positions = np.concatenate([t.positions for t in several])
    expected = np.concatenate([t.lengths for t in several])
    assert strings.lengths(positions).tolist() == expected.tolist()


def rows_of(table: Table, with_kernels: bool) -> Names:
    """The table's names, by machine code (where this host has it) or by numpy alone."""
    with pytest.MonkeyPatch.context() as patch:
        if not with_kernels:
            patch.setattr("rtld.elf.hash.kernels", lambda: None)
        return Names(table.positions.copy(), lambda: Strings([(table.start, table.size)]))


@pytest.mark.parametrize("with_kernels", [True, False])
@given(names=NAMES)
def test_names(with_kernels: bool, names: list[bytes]) -> None:
    table = Table(names)
    rows = rows_of(table, with_kernels)
    count = len(names)
    assert rows.hash.tolist() == [gnu_hash(name) for name in names]
    assert rows.length.tolist() == [len(name) for name in names]
    assert [rows.text(n) for n in range(count)] == names
    left, right = (x.ravel() for x in np.meshgrid(np.arange(count), np.arange(count)))
    expected = [names[a] == names[b] for a, b in zip(left.tolist(), right.tolist(), strict=True)]
    assert rows.equal(left, right).tolist() == expected
    same = rows.length[left] == rows.length[right]
    got = same_bytes(
        table.positions[left][same], table.positions[right][same], table.lengths[left][same]
    )
    assert got.tolist() == [e for e, s in zip(expected, same.tolist(), strict=True) if s]


@pytest.mark.parametrize("with_kernels", [True, False])
def test_one_long_name_among_short_ones(with_kernels: bool) -> None:
    names = [b"a" * n for n in (0, 1, 7, 8, 9, 40_000, 15, 16, 17)]
    names += [names[5][:-1] + b"b", names[5]]
    rows = rows_of(Table(names), with_kernels)
    assert rows.hash.tolist() == [gnu_hash(name) for name in names]
    assert rows.equal(np.array([5, 5]), np.array([9, 10])).tolist() == [False, True]


# The values that the System V ABI's and the GNU hash's own descriptions give.
@pytest.mark.parametrize(
    ("name", "sysv", "gnu"),
    [
        (b"", 0x00000000, 0x00001505),
        (b"printf", 0x077905A6, 0x156B2BB8),
        (b"exit", 0x0006CF04, 0x7C967E3F),
        (b"syscall", 0x0B09985C, 0xBAC212A0),
        (b"flapenguin.me", 0x03987915, 0x8AE9F18E),
    ],
)
def test_known_values(name: bytes, sysv: int, gnu: int) -> None:
    assert sysv_hash(name) == sysv
    assert gnu_hash(name) == gnu


def test_hashes_stored_by_the_link_editor() -> None:
    compared = 0
    for path in native():
        file = ElfFile(path)
        stored = chains(file)
        first = tables(file).first_hashed
        names = [file.string_bytes(int(s["st_name"])) for s in symbols(file)[first:]]
        assert [h | 1 for h in map(gnu_hash, names)] == (stored | 1).tolist()[: len(names)]
        compared += len(names)
    assert compared > 1000

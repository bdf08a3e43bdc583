"""The unwind table: what is read out of .eh_frame is what the link editor put into .eh_frame_hdr, library by library."""

from __future__ import annotations

import glob

import numpy as np
import pytest

from rtld.core.module import Module
from rtld.elf.file import ElfFile
from rtld.elf.packed import pack_relr, unpack_relr
from rtld.frozen.gnuhash import gnu_hash_table
from rtld.frozen.unwind import read_table, scan_frames

LIBRARIES = sorted(glob.glob("/lib/x86_64-linux-gnu/lib*.so.?"))[:40]


@pytest.mark.live
@pytest.mark.parametrize("path", LIBRARIES)
def test_frames_are_those_of_the_table(path: str) -> None:
    file = ElfFile(path)
    module = Module(file, path)
    table = read_table(module)
    segment = file.segment(0x6474E550)
    if segment is None or not len(table):
        pytest.skip("no table")
    data = file.contents(segment)
    start = segment.vaddr + 4 + int.from_bytes(data[4:8], "little", signed=True)
    found = scan_frames(module, start)
    found = found[np.argsort(found[:, 0], kind="stable")]
    # The link editor leaves out FDEs of functions that are gone (address 0 or below the first).
    assert set(map(tuple, table.tolist())) <= set(map(tuple, found.tolist()))
    assert (np.diff(table[:, 0]) >= 0).all()


def test_relr_is_packed_and_unpacked() -> None:
    random = np.random.default_rng(3)
    file = ElfFile("/bin/true")
    for density in (0.01, 0.2, 0.9):
        words = np.flatnonzero(random.random(20_000) < density) * 8 + 0x1000
        packed = pack_relr(words)
        assert (unpack_relr(packed, 8, file) == words.astype(np.uint64)).all()
        assert len(packed) < len(words) or density < 0.1
    odd = np.array([0x1000, 0x1004, 0x100C, 0x2000])  # not all eight apart
    assert unpack_relr(pack_relr(odd), 8, file).tolist() == odd.tolist()
    assert len(pack_relr(np.empty(0, np.int64))) == 0


def test_gnu_hash_finds_everything_it_has() -> None:
    """By the reader that decodes everybody's files (glibc's is asked by every other test here)."""
    random = np.random.default_rng(5)
    hashes = random.integers(0, 1 << 32, 5000, dtype=np.uint64).astype(np.uint32)
    table, order = gnu_hash_table(hashes, 7)
    buckets, first, words, shift = np.frombuffer(table, "<u4", 4).tolist()
    bloom = np.frombuffer(table, "<u8", words, 16)
    heads = np.frombuffer(table, "<u4", buckets, 16 + 8 * words)
    chain = np.frombuffer(table, "<u4", len(hashes), 16 + 8 * words + 4 * buckets)
    assert first == 7
    for place, original in enumerate(order.tolist()):
        h = int(hashes[original])
        word = int(bloom[h // 64 % words])
        assert word >> h % 64 & 1
        assert word >> (h >> shift) % 64 & 1
        at = int(heads[h % buckets]) - first
        while int(chain[at]) | 1 != h | 1 or at != place:
            assert not int(chain[at]) & 1
            at += 1
    assert gnu_hash_table(np.empty(0, np.uint32), 1)[1].tolist() == []

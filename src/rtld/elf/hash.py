"""The two symbol hashes: DT_HASH (gABI, chapter 5) and DT_GNU_HASH, for one name and for many at once.

The GNU hash is h = 5381, then h * 33 + c for each byte, modulo 2**32. Eight bytes at a time it is
h * 33**8 + sum(c[i] * 33**(7-i)); the sum is made inside one 64-bit word by three multiplications (SWAR).
"""

from __future__ import annotations

import numpy as np

from rtld.elf.flat import flat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.flat import I64, U32, U64

_U = np.uint64
_ONES = _U(0x0101010101010101)
_HIGH = _U(0x8080808080808080)
_BYTES = _U(0x00FF00FF00FF00FF)
_PAIRS = _U(0x0000FFFF0000FFFF)
_LOW32 = _U(0xFFFFFFFF)
_POWERS = np.array([pow(33, n, 1 << 32) for n in range(9)], np.uint64)


def gnu_hash(name: bytes) -> int:
    """The GNU hash of one name."""
    h = 5381
    for c in name:
        h = (h * 33 + c) & 0xFFFFFFFF
    return h


def sysv_hash(name: bytes) -> int:
    """The System V hash of one name; 28 bits."""
    h = 0
    for c in name:
        h = (h << 4) + c
        h ^= (h >> 24) & 0xF0
        h &= 0x0FFFFFFF
    return h


class Names:
    """Many NUL-terminated names, read once: their hashes, and their bytes packed in words for exact comparison.

    hash    uint64[n]   GNU hash, full 32 bits
    start   int64[n+1]  where each name's words begin in ``words``
    words   uint64[]    the bytes, little-endian, zero after the name's end; the last word of a name holds its NUL
    last    uint64[n]   mask over a name's last word that covers its bytes and its NUL
    """

    __slots__ = ("hash", "last", "start", "words")

    def __init__(self, hash: U64, start: I64, words: U64, last: U64) -> None:
        self.hash = hash
        self.start = start
        self.words = words
        self.last = last

    def equal(self, left: I64, right: I64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether the names ``left[i]`` and ``right[i]`` are the same, for every i."""
        count = self.start[left + 1] - self.start[left]
        same = count == self.start[right + 1] - self.start[right]
        todo = np.flatnonzero(same)
        if not len(todo):
            return same
        count = count[todo]
        ends = np.cumsum(count)
        offset = np.arange(ends[-1]) - np.repeat(ends - count, count)
        a = self.words[np.repeat(self.start[left[todo]], count) + offset]
        b = self.words[np.repeat(self.start[right[todo]], count) + offset]
        differ = np.flatnonzero(a != b)
        if len(differ):
            same[todo[np.searchsorted(ends, differ, side="right")]] = False
        return same


def _mix(word: U64) -> U64:
    """sum(c[i] * 33**(7-i)) modulo 2**32 over the eight bytes of each word."""
    word = (word & _BYTES) * _U(33) + ((word >> _U(8)) & _BYTES)
    word = (word & _PAIRS) * _U(33**2) + ((word >> _U(16)) & _PAIRS)
    return (word & _LOW32) * _U(33**4) + (word >> _U(32))


def read_names(positions: I64) -> Names:
    """Hash and copy the names at ``positions`` of the flat view. Every one must end before its memory does."""
    memory = flat("<u8")
    n = len(positions)
    h = np.full(n, 5381, np.uint64)
    count = np.ones(n, np.int64)
    last = np.empty(n, np.uint64)
    rounds: list[tuple[I64, U64]] = []
    live = np.arange(n)
    at = positions
    while len(live):
        word = memory[at]
        nul = (word - _ONES) & ~word & _HIGH
        ended = nul != 0
        done = np.flatnonzero(ended)
        if len(done):
            nul = nul[done]
            through = nul ^ (nul - _U(1))  # all bits up to the NUL's highest
            before = through >> _U(8)
            bits = np.bitwise_count(before).astype(np.uint64)
            tail = word[done] & before
            who = live[done]
            h[who] = h[who] * _POWERS[bits >> _U(3)] + _mix(tail << (_U(64) - bits))
            last[who] = through
            word[done] = tail
        rounds.append((live, word))
        more = np.flatnonzero(~ended)
        live = live[more]
        word = word[more]
        h[live] = h[live] * _POWERS[8] + _mix(word)
        count[live] += 1
        at = at[more] + 8
    start = np.zeros(n + 1, np.int64)
    np.cumsum(count, out=start[1:])
    words = np.empty(start[-1], np.uint64)
    for number, (who, word) in enumerate(rounds):
        words[start[who] + number] = word
    return Names(h & _LOW32, start, words, last)


def match_names(positions: I64, names: Names, which: I64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether the name at ``positions[i]`` is ``names[which[i]]``. Reads no byte after a difference or a NUL."""
    memory = flat("<u8")
    result = np.zeros(len(positions), np.bool_)
    live = np.arange(len(positions))
    at = names.start[which]
    left = names.start[which + 1] - at
    mask = names.last[which]
    where = positions
    while len(live):
        word = memory[where]
        final = left == 1
        differs = (word & np.where(final, mask, _U(0xFFFFFFFFFFFFFFFF))) != names.words[at]
        result[live[final & ~differs]] = True
        go = np.flatnonzero(~(final | differs))
        live, at, left, mask, where = live[go], at[go] + 1, left[go] - 1, mask[go], where[go] + 8
    return result


def sysv_symbol_hashes(positions: I64) -> U32:
    """GNU hashes of the names at ``positions``, for modules that have only DT_HASH."""
    return read_names(positions).hash.astype(np.uint32)

"""The two symbol hashes: DT_HASH (gABI, chapter 5) and DT_GNU_HASH, for one name and for many at once.

The GNU hash is h = 5381, then h * 33 + c for each byte, modulo 2**32. Eight bytes at a time it is
h * 33**8 + sum(c[i] * 33**(7-i)); the sum is made inside one 64-bit word by three multiplications (SWAR).

Many names are handled longest first: at each step the names that still have eight bytes to go are a prefix of the
columns, so nothing has to be selected or moved.
"""

from __future__ import annotations

import numpy as np

from rtld.elf.flat import flat
from rtld.elf.kernels import kernels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rtld.elf.flat import I64, U64, Bool

_U = np.uint64
_ONES = _U(0x0101010101010101)
_HIGH = _U(0x8080808080808080)
_BYTES = _U(0x00FF00FF00FF00FF)
_PAIRS = _U(0x0000FFFF0000FFFF)
_LOW32 = _U(0xFFFFFFFF)
#: Names worked on at a time, so that the columns stay in the cache.
_BLOCK = 1 << 13
_POWERS = np.array([pow(33, n, 1 << 32) for n in range(9)], np.uint64)


def sysv_hash(name: bytes) -> int:
    """The System V hash of one name; 28 bits."""
    h = 0
    for c in name:
        h = (h << 4) + c
        h ^= (h >> 24) & 0xF0
        h &= 0x0FFFFFFF
    return h


class Strings:
    """Where the strings of many string tables end: the positions of all NULs, ascending."""

    __slots__ = ("nuls",)

    def __init__(self, tables: Iterable[tuple[int, int]]) -> None:
        parts = [_nuls(start, size) for start, size in sorted(set(tables)) if size]
        self.nuls: I64 = np.concatenate(parts) if parts else np.empty(0, np.int64)

    def lengths(self, positions: I64) -> I64:
        """The lengths of the strings at ``positions``, each of which lies in one of the tables."""
        order = np.argsort(positions)
        ordered = positions[order]
        result = np.empty(len(positions), np.int64)
        result[order] = self.nuls[np.searchsorted(self.nuls, ordered)] - ordered
        return result


def _nuls(start: int, size: int) -> I64:
    """Positions of the zero bytes of one string table, which ends in one."""
    words = flat("<u8")[start : start + (size - 1) // 8 * 8 + 1 : 8]
    hits = []
    for begin in range(0, len(words), _BLOCK):
        word = words[begin : begin + _BLOCK]
        zero = ~word
        zero &= _HIGH
        zero &= word - _ONES
        hits.append(np.flatnonzero(zero) + begin)
    hit = hits[0] if len(hits) == 1 else np.concatenate(hits)
    # Only these words have a NUL, perhaps several; bytes above the first may look like one and are not.
    zeros = np.flatnonzero(words[hit].view(np.uint8) == 0)
    found = start + 8 * hit[zeros >> 3] + (zeros & 7)
    # The last word may reach beyond the table.
    beyond = int(np.count_nonzero(found[-8:] >= start + size))
    inside: I64 = found[: len(found) - beyond]
    return inside


class Names:
    """Many names, as columns: position (flat.py), length in bytes, GNU hash (32 bits)."""

    __slots__ = ("_strings", "hash", "length", "position")

    def __init__(self, position: I64, strings: Callable[[], Strings]) -> None:
        self.position = position
        self._strings = strings
        self.hash: U64
        self.length: I64
        code = kernels()
        if code:
            self.hash, self.length = code.hash_names(position)
        else:
            self.length = strings().lengths(position)
            self.hash = hash_names(position, self.length)

    def equal(self, left: I64, right: I64) -> Bool:
        """Whether the names ``left[i]`` and ``right[i]`` are the same, for every i."""
        return self.match(self.position[left], right)

    def match(self, positions: I64, which: I64) -> Bool:
        """Whether the name at ``positions[i]`` is number ``which[i]``."""
        lengths = self._strings().lengths(positions)
        result: Bool = lengths == self.length[which]
        same = np.flatnonzero(result)
        result[same] = same_bytes(positions[same], self.position[which[same]], lengths[same])
        return result

    def text(self, number: int) -> bytes:
        """One name's bytes."""
        begin = int(self.position[number])
        return flat("|u1")[begin : begin + int(self.length[number])].tobytes()  # type: ignore[no-any-return]


def _longest_first(words: I64) -> tuple[I64, list[int]]:
    """(order of the columns, longest first; how many have more than k words, for k = 0, 1, ...)."""
    top = int(words.max()) if len(words) else 0
    keys = (top - words).astype(np.uint16) if top < 1 << 16 else top - words
    order = np.argsort(keys, kind="stable")
    if top > 1 << 12:
        # Absurdly long names: do not count step by step what has next to no rows.
        ascending = np.sort(words)
        live = [len(words) - int(np.searchsorted(ascending, k, side="right")) for k in range(top)]
    else:
        live = (len(words) - np.cumsum(np.bincount(words, minlength=top + 1))).tolist()[:top]
    return order, live


def _mix(word: U64) -> U64:
    """sum(c[i] * 33**(7-i)) modulo 2**32 over the eight bytes of each word."""
    high = word >> _U(8)
    high &= _BYTES
    word = word & _BYTES
    word *= _U(33)
    word += high
    np.right_shift(word, _U(16), out=high)
    high &= _PAIRS
    word &= _PAIRS
    word *= _U(33**2)
    word += high
    np.right_shift(word, _U(32), out=high)
    word &= _LOW32
    word *= _U(33**4)
    word += high
    return word


def hash_names(position: I64, length: I64) -> U64:
    """GNU hashes of the names at ``position``, of ``length`` bytes."""
    order, live = _longest_first(length >> 3)
    result = np.empty(len(position), np.uint64)
    for begin in range(0, len(order), _BLOCK):
        rows = order[begin : begin + _BLOCK]
        result[rows] = _hash_block(position[rows], length[rows], live, begin)
    return result


def _hash_block(at: I64, length: I64, live: list[int], begin: int) -> U64:
    memory = flat("<u8")
    h = np.full(len(at), 5381, np.uint64)
    for total in live:
        count = total - begin
        if count <= 0:
            break
        part = h[:count]
        part *= _POWERS[8]
        part += _mix(memory[at[:count]])
        at[:count] += 8
    rest = (length & 7).astype(np.uint64)
    # Shifting by 64 gives 0 in numpy, which is what no bytes at all contribute.
    h *= _POWERS[rest]
    h += _mix(memory[at] << (_U(64) - (rest << _U(3))))
    return h & _LOW32


def same_bytes(left: I64, right: I64, length: I64) -> Bool:
    """Whether the ``length[i]`` bytes at positions ``left[i]`` and ``right[i]`` are the same."""
    order, live = _longest_first(length >> 3)
    result = np.empty(len(left), np.bool_)
    for begin in range(0, len(order), _BLOCK):
        rows = order[begin : begin + _BLOCK]
        result[rows] = _same_block(left[rows], right[rows], length[rows], live, begin)
    return result


def _same_block(a: I64, b: I64, size: I64, live: list[int], begin: int) -> Bool:
    memory = flat("<u8")
    # What is left after whole words: the last word again, ending at the name's end; short names are masked.
    short = size < 8
    back = np.where(short, 0, size - 8)
    differ = memory[a + back] ^ memory[b + back]
    differ[short] &= (_U(1) << (size[short].astype(np.uint64) << _U(3))) - _U(1)
    for total in live:
        count = total - begin
        if count <= 0:
            break
        word = memory[a[:count]]
        word ^= memory[b[:count]]
        differ[:count] |= word
        a[:count] += 8
        b[:count] += 8
    same: Bool = differ == 0
    return same

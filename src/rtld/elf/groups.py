"""Names that are equal get one number; then the same names are found among others.

Both by hash first, then byte for byte. ``SortedGroups`` does it with numpy alone; ``TableGroups`` with machine code
where this CPU has it. The numbers differ, the groups do not.
"""

from __future__ import annotations

import numpy as np

from rtld.elf.kernels import NameTable, kernels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from rtld.elf.flat import I64, U32, U64, Bool
    from rtld.elf.hash import Names
    from rtld.elf.kernels import Kernels

    class Groups(Protocol):
        """Names, grouped: ``number`` is each name's group, ``count`` how many there are."""

        names: Names
        number: I64
        count: int

        def find(self, position: I64, h: U32) -> tuple[I64, I64]:
            """(row, group) of those names at ``position`` that are in a group; rows ascend.

            ``h`` are their GNU hashes, the lowest bit of which does not count: a .gnu.hash chain has lost it.
            """
            ...


def group_names(names: Names) -> Groups:
    """The groups of equal names."""
    code = kernels()
    if code:
        table = TableGroups(names, code)
        if table.usable:
            return table
    return SortedGroups(names)


class TableGroups:
    """By a hash table (``number_names`` in arch/x86_64_kernels.py). Groups are numbered as they come."""

    def __init__(self, names: Names, code: Kernels) -> None:
        self.names = names
        self._code = code
        self._table = NameTable(len(names.hash))
        number = code.number_names(self._table, names.position, names.hash)
        # Hashes that collide by the hundred are somebody's work: sorting is not impressed by them.
        self.usable = number is not None
        self._table.close()
        self.count = self._table.count
        if number is not None:
            self.number: I64 = number

    def find(self, position: I64, h: U32) -> tuple[I64, I64]:
        number = self._code.number_names(self._table, position, h.astype(np.uint64))
        if number is None:
            groups = SortedGroups(self.names)
            row, group = groups.find(position, h)
            return row, self.number[groups.representative[group]]
        row = np.flatnonzero(number >= 0)
        return row, number[row]


class SortedGroups:
    """By sorting. Groups are numbered in the order of their hashes, which ascend with them."""

    def __init__(self, names: Names) -> None:
        self.names = names
        n = len(names.hash)
        key = np.sort((names.hash << np.uint64(32)) | np.arange(n, dtype=np.uint64))
        who = (key & np.uint64(0xFFFFFFFF)).astype(np.int64)
        h = key >> np.uint64(32)
        new = np.empty(n, np.bool_)
        if n:
            new[0] = True
            np.not_equal(h[1:], h[:-1], out=new[1:])
        group_sorted = np.cumsum(new) - 1
        representative = who[new]
        # Equal hash is not yet equal name: true collisions get groups of their own, after their hash's first.
        others = np.flatnonzero(~new)
        bad = others[~names.equal(who[others], representative[group_sorted[others]])]
        if len(bad):
            # Not np.unique: it imports numpy.ma.
            hashes = np.array(sorted(set(h[bad].tolist())), np.uint64)
            _split_collisions(names, who, h, new, hashes)
            group_sorted = np.cumsum(new) - 1
            representative = who[new]
        self.representative: I64 = representative
        self.count = len(representative)
        self.number: I64 = np.empty(n, np.int64)
        self.number[who] = group_sorted

    def find(self, position: I64, h: U32) -> tuple[I64, I64]:
        half = (self.names.hash[self.representative] >> np.uint64(1)).astype(np.uint32)
        # Ascending, so that the searches go through memory once.
        key = np.sort(
            ((h >> np.uint32(1)).astype(np.uint64) << np.uint64(32))
            | np.arange(len(h), dtype=np.uint64)
        )
        mine = (key >> np.uint64(32)).astype(np.uint32)
        left = np.searchsorted(half, mine, side="left")
        count = np.searchsorted(half, mine, side="right") - left
        hit = np.flatnonzero(count)
        count = count[hit]
        # A hash without its low bit can belong to two groups (h and h ^ 1), and to more after a collision.
        which = np.repeat(hit, count)
        ends = np.cumsum(count)
        group = left[which] + (np.arange(len(which)) - np.repeat(ends - count, count))
        row = (key & np.uint64(0xFFFFFFFF)).astype(np.int64)[which]
        same = np.flatnonzero(self.names.match(position[row], self.representative[group]))
        # Back to the order of rows; a name is in one group at most.
        found = np.sort(
            (row[same].astype(np.uint64) << np.uint64(32)) | group[same].astype(np.uint64)
        )
        return (
            (found >> np.uint64(32)).astype(np.int64),
            (found & np.uint64(0xFFFFFFFF)).astype(np.int64),
        )


def _split_collisions(names: Names, who: I64, h: U64, new: Bool, hashes: U64) -> None:
    """Put equal names side by side within the runs of these hashes, and mark where each begins."""
    left, right = np.searchsorted(h, hashes, side="left"), np.searchsorted(h, hashes, side="right")
    for begin, end in zip(left.tolist(), right.tolist(), strict=True):
        text = {name: names.text(name) for name in who[begin:end].tolist()}
        run = sorted(text, key=lambda name: text[name])
        who[begin:end] = run
        new[begin:end] = [i == 0 or text[run[i]] != text[run[i - 1]] for i in range(len(run))]

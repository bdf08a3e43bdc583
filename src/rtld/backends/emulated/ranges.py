"""Which addresses are taken, and for what: disjoint ranges in ascending order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Ranges:
    """Ranges [start, end) with a value each. Neighbours are never joined, so that a range is what somebody once added."""

    __slots__ = ("_ends", "_starts", "_values")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._values: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return iter(zip(self._starts, self._ends, self._values, strict=True))

    def pieces(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """What of [start, end) is taken: (start, end, value), cut to it."""
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        return [
            (max(self._starts[i], start), min(self._ends[i], end), self._values[i])
            for i in range(first, last)
        ]

    def remove(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Free [start, end); what of it was taken."""
        gone = self.pieces(start, end)
        if gone:
            first = bisect_right(self._ends, start)
            last = bisect_left(self._starts, end)
            kept: list[tuple[int, int, int]] = []
            if self._starts[first] < start:
                kept.append((self._starts[first], start, self._values[first]))
            if self._ends[last - 1] > end:
                kept.append((end, self._ends[last - 1], self._values[last - 1]))
            self._starts[first:last] = [low for low, _, _ in kept]
            self._ends[first:last] = [high for _, high, _ in kept]
            self._values[first:last] = [value for _, _, value in kept]
        return gone

    def add(self, start: int, end: int, value: int = 0) -> None:
        """Take [start, end), whatever it was taken for before."""
        self.remove(start, end)
        at = bisect_left(self._starts, start)
        self._starts.insert(at, start)
        self._ends.insert(at, end)
        self._values.insert(at, value)

    def lowest_gap(self, size: int, align: int, low: int, high: int) -> int | None:
        """The first multiple of *align* in [low, high) with *size* free bytes."""
        at = low + -low % align
        for start, end, _ in self.pieces(low, high):
            if at + size <= start:
                break
            at = max(at, end + -end % align)
        return at if at + size <= high else None

    def highest_gap(self, size: int, align: int, low: int, high: int) -> int | None:
        """The last one."""
        at = (high - size) & -align
        for start, end, _ in reversed(self.pieces(low, high)):
            if at >= end:
                break
            at = min(at, (start - size) & -align)
        return at if at >= low else None

"""Addresses for the binder: the lowest that are free (``core.space.AddressSpace``)."""

from __future__ import annotations

from rtld.core.space import page_up
from rtld.errors import NoSpace
from rtld.textbook.object import LIMIT

PAGE = 0x1000


class LowestFirst:
    """A 32-bit address space that is filled from ``first`` up. Address 0 is never given."""

    def __init__(self, first: int = PAGE) -> None:
        self.first = first
        self.taken: list[tuple[int, int]] = []  # ascending, whole pages

    def reserve(self, size: int, align: int, at: int | None = None) -> int:
        """Exactly ``at`` if that is given, else the lowest free range. NoSpace."""
        begin = page_up(self.first, align) if at is None else at
        if begin < self.first:
            raise NoSpace(f"{begin:x} is not free: addresses begin at {self.first:x}")
        for low, high in self.taken:
            if begin + size <= low:
                break
            if begin < high:
                if at is not None:
                    raise NoSpace(
                        f"{at:x} to {at + size:x} is not free: {low:x} to {high:x} is taken"
                    )
                begin = page_up(high, align)
        if begin + size > LIMIT:
            raise NoSpace(f"no {size:#x} bytes of 32-bit addresses are free from {begin:x} up")
        if size:
            self.taken.append((begin & -PAGE, page_up(begin + size, PAGE)))
            self.taken.sort()
        return begin

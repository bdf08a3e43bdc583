"""Where things stand in the address space of an emulated process.

Linux (fs/binfmt_elf.c, mm/util.c): the program low (fixed) or at two thirds of the space, its heap behind it, the stack at
the top, and below that, growing down, everything that is mapped. Chance moves each of them.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from rtld.core.space import page_up
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 0x1000
STACK = 8 << 20


def splitmix(seed: int) -> Iterator[int]:
    """Steele, Lea, Flood: splitmix64. A good sequence of 64-bit numbers from any seed."""
    mask = (1 << 64) - 1
    while True:
        seed = seed + 0x9E3779B97F4A7C15 & mask
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        yield z ^ z >> 31


class Chance:
    """Random numbers of one run: nobody's (*seed* None), or the same each time. ``fixed``: none at all."""

    def __init__(self, seed: int | None = None, *, fixed: bool = False) -> None:
        self.fixed = fixed
        self._numbers = splitmix(int.from_bytes(os.urandom(8), "little") if seed is None else seed)

    def pages(self, most: int) -> int:
        """A number of bytes: whole pages, fewer than *most* of them."""
        return 0 if self.fixed else next(self._numbers) % max(most, 1) * PAGE

    def bytes(self, count: int) -> bytes:
        """For AT_RANDOM."""
        return b"".join(next(self._numbers).to_bytes(8, "little") for _ in range(-(-count // 8)))[
            :count
        ]


class Layout(NamedTuple):
    """Addresses that execve asks for.

    program     base of an ET_DYN program that has an interpreter
    stack_top   the end of the main stack
    stack_size  of it;  below it is a guard page
    """

    name: str
    program: int
    stack_top: int
    stack_size: int


def choose(name: str, bits: int, size: int, top: int, chance: Chance) -> Layout:
    """The layout of that name for an address space of *size* bytes of which *top* is the end that is free."""
    if name != "linux":
        raise Unsupported(f"no layout {name!r}", "known is linux")
    # Linux leaves an eighth of the range to chance; 28 bits of pages where there is room.
    wide = 1 << (8 if bits == 32 else 19)
    program = size // 3 * 2 & -(1 << 20)
    if bits == 32:
        program = 0x56555000
    return Layout(name, program + chance.pages(wide), top - chance.pages(wide >> 2), page_up(STACK))

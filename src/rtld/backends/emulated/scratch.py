"""Memory that is lent to the guest for the length of a call: strings, buffers, structures.

A stack: what was lent after ``mark`` goes with ``release``. Little things are next to one another in a piece that is always
there; a large one gets pages of its own.
"""

from __future__ import annotations

from rtld.backends.emulated.memory import PAGE, READ, WRITE
from rtld.core.space import page_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.machine import Machine

SIZE = 1 << 18
LARGE = 1 << 16
ALIGN = 16


class Scratch:
    """The piece, and the large things."""

    def __init__(self, machine: Machine) -> None:
        self._memory = machine.memory
        self._start = self._memory.reserve(SIZE, high=True)
        self._memory.map(self._start, SIZE, READ | WRITE)
        self._view = self._memory.view(self._start, SIZE)
        self._at = 0
        self._large: list[tuple[int, int]] = []

    def mark(self) -> tuple[int, int]:
        """What is lent now."""
        return self._at, len(self._large)

    def lend(self, data: bytes | memoryview) -> int:
        """The guest's address of a copy. NoSpace."""
        size = len(data)
        at = self._at
        if size > LARGE or at + size > SIZE:
            pages = page_up(size + 1)
            start = self._memory.reserve(pages, PAGE, high=True)
            self._memory.map(start, pages, READ | WRITE)
            self._memory.view(start, size)[:] = data
            self._large.append((start, pages))
            return start
        self._view[at : at + size] = data
        self._at = at + size + -size % ALIGN
        return self._start + at

    def release(self, mark: tuple[int, int]) -> None:
        """Take back what was lent since."""
        self._at = mark[0]
        while len(self._large) > mark[1]:
            self._memory.unmap(*self._large.pop())

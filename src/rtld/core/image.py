"""A module's memory before it is anywhere: one uint8 array, with the segments it is made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Image:
    """The bytes of p_vaddr [low, low + len(bytes)): what linking can change of a module, to be placed at ``base + low``.

    That is from the first writable segment to the last; the segments before it are the file's own bytes, and not here,
    unless the module has text relocations. ``start`` is where the array begins in the namespace's arena.
    """

    __slots__ = ("base", "bytes", "low", "segments", "start")

    def __init__(
        self, array: Any, low: int, base: int, start: int, segments: tuple[Any, ...]
    ) -> None:
        self.bytes: Any = array  # uint8[n]; of a small program a memoryview, which can do less
        self.low = low
        self.base = base
        self.start = start
        self.segments = segments  # the PT_LOADs whose file bytes are in the array

    @property
    def high(self) -> int:
        """The p_vaddr behind the last byte."""
        return self.low + len(self.bytes)

    def view(self, vaddr: int, size: int) -> Any:
        """The bytes of [vaddr, vaddr + size)."""
        begin = vaddr - self.low
        return self.bytes[begin : begin + size]

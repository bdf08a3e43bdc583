"""A module's memory before it is anywhere: one uint8 array, with the segments it is made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray


class Image:
    """The bytes from ``low`` (page-aligned p_vaddr) on, to be placed at ``base + low``.

    Only segments that linking can change are filled at first (``filled``); the others are the file's own bytes.
    ``start`` is where the array begins in the namespace's arena.
    """

    __slots__ = ("base", "bytes", "filled", "low", "segments", "start")

    def __init__(self, array: NDArray[np.uint8], low: int, base: int, start: int, segments: tuple[Any, ...]) -> None:
        self.bytes = array
        self.low = low
        self.base = base
        self.start = start
        self.segments = segments
        self.filled: set[int] = set()  # indices of segments whose file bytes are in the array

    def view(self, vaddr: int, size: int) -> NDArray[np.uint8]:
        """The bytes of [vaddr, vaddr + size)."""
        begin = vaddr - self.low
        return self.bytes[begin : begin + size]

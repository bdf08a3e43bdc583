"""Bytes into a file."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def write_at(fd: int, data: Any, offset: int) -> None:
    """All of a buffer, from that offset of the file on; pwrite may stop earlier. OSError."""
    view = memoryview(data).cast("B")
    while len(view):
        done = os.pwrite(fd, view, offset)
        view = view[done:]
        offset += done

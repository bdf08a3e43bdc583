"""Exceptions as one line for people."""

from __future__ import annotations

import os


def sentence(error: BaseException) -> str:
    """What went wrong, with the file's name in front where the system says it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    if isinstance(error, RecursionError):
        return "the file nests too deeply"
    return str(error)

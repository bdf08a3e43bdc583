"""One numpy view over this process's whole address space, so that many mapped files are one array.

Names, symbols and versions of all libraries are gathered by fancy indexing from the same array; an index into it is
called a *position* (address minus ``ORIGIN``). The views have a stride of one byte, so an element may start anywhere.
Nothing stops a wrong position from touching unmapped memory: every table is checked against its file before its
positions are used (``tables.py``).
"""

from __future__ import annotations

import mmap
import sys
from contextlib import suppress
from functools import cache

import numpy as np

from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]
    U16 = NDArray[np.uint16]
    U32 = NDArray[np.uint32]
    U64 = NDArray[np.uint64]
    I64 = NDArray[np.int64]
    Bool = NDArray[np.bool_]

ORIGIN = 0x1000  # numpy takes address 0 for "no data"; the first page is never mapped
_HUGE = 2 << 20
_SIZE = (1 << 47) - 0x10000  # user half of the address space, less what a wide element could cross

if sys.maxsize < 1 << 40 or sys.byteorder != "little":  # pragma: no cover
    raise Unsupported("linking needs a 64-bit little-endian host")


class _Memory:
    def __init__(self, typestr: str, writable: bool) -> None:
        self.__array_interface__ = {
            "version": 3,
            "shape": (_SIZE,),
            "typestr": typestr,
            "data": (ORIGIN, not writable),
            "strides": (1,),
        }


_VIEWS: dict[str, Any] = {}


def flat(typestr: str) -> Any:
    """The whole address space as elements of ``typestr`` ("<u4", ">u8", ...), one starting at every byte. Read-only."""
    view = _VIEWS.get(typestr)
    if view is None:
        view = _VIEWS[typestr] = np.asarray(_Memory(typestr, writable=False))
    return view


def flat_bytes() -> U8:
    """The whole address space as writable bytes: what the relocation engine stores through."""
    view = _VIEWS.get("rw")
    if view is None:
        view = _VIEWS["rw"] = np.asarray(_Memory("|u1", writable=True))
    result: U8 = view
    return result


def position(data: memoryview) -> int:
    """The position of a buffer's first byte."""
    if len(data) == 0:
        return 0
    return int(np.frombuffer(data, np.uint8).__array_interface__["data"][0]) - ORIGIN


def fresh(size: int) -> U8:
    """So many zero bytes of their own, which cost nothing until they are written. OSError when there is no room."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    memory = mmap.mmap(-1, size, flags=flags)
    if size >= _HUGE:
        # One page fault where there were 512; a kernel without huge pages says no, and nothing is lost.
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


@cache
def keep_freed_memory() -> None:
    """Let malloc keep what numpy frees: columns come and go by the megabyte, and fresh pages cost more than their use.

    glibc's malloc returns to the kernel whatever exceeds twice the largest block freed so far, with 32 MiB as the limit
    of that (mallopt(3), M_MMAP_THRESHOLD): one large block is asked for, not touched, and freed. Elsewhere it is nothing.
    """
    np.empty(31 << 20, np.uint8)

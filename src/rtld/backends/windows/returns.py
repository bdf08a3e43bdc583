"""Where the program's functions return to when we have called them: a page with code that halts, and how to unwind it.

On x64 the page has a table of functions of its own. Below the arguments of every call a machine frame says which program
and stack pointer are above: so the program's own unwinders, and ours, find their way past what is Python.
"""

from __future__ import annotations

import struct

from rtld.arch.x86_64_unwind import ALLOC_LARGE, PUSH_MACHFRAME, Function

#: Kinds of calls: what the address says that a function returns to.
CALL, MANY, EXCEPTION, UNWIND = range(4)
KINDS = 4
STEP = 16
FIRST = 0x20  # what stands before a return address can be read, as unwinders of GCC do
ST0 = 0x80  # code that loads st(0) from SCRATCH
SCRATCH = 0x90
_TABLE = 0x100
_INFO = 0x180
_ROOM = (0x100, 0x8000, 0x100, 0x100)  # bytes for the arguments, of each kind
MOST_ARGUMENTS = 0x8000 // 8


def page(address: int, bits: int) -> bytes:
    """The bytes of the page that stands at ``address``."""
    data = bytearray(b"\xf4" * 0x400)
    data[ST0 : ST0 + 7] = b"\xdd\x05" + struct.pack("<I", address + SCRATCH) + b"\xf4"
    if bits == 64:
        for kind, room in enumerate(_ROOM):
            info = _INFO + STEP * kind
            struct.pack_into("<III", data, _TABLE + 12 * kind, *function(kind))
            codes = struct.pack("<BBHBB", 0, ALLOC_LARGE, room // 8, 0, PUSH_MACHFRAME)
            data[info : info + 10] = struct.pack("<BBBB", 1, 0, 3, 0) + codes
    return bytes(data)


def function(kind: int) -> Function:
    """The row of the table for the calls of a kind; RVAs in the page."""
    start = FIRST + STEP * kind
    return Function(start, start + STEP, _INFO + STEP * kind)


def address(page_at: int, kind: int) -> int:
    """Where a function of that kind of call returns to."""
    return page_at + FIRST + STEP * kind


def kind_at(offset: int) -> int:
    """The kind whose code stands there in the page; -1: none."""
    kind = (offset - FIRST) // STEP
    return kind if 0 <= kind < KINDS else -1


def row(kind: int) -> int:
    """Where in the page the row stands."""
    return _TABLE + 12 * kind


def kind_for(kind: int, arguments: int) -> int:
    """The kind that has room for so many arguments."""
    return MANY if 8 * arguments > _ROOM[kind] else kind


def stack64(kind: int, back: int, arguments: list[int], caller: tuple[int, int]) -> bytes:
    """What is on the stack when a function begins: return address, arguments, machine frame."""
    room = _ROOM[kind]
    data = struct.pack(f"<{len(arguments) + 1}Q", back, *arguments)
    rip, rsp = caller
    return data.ljust(8 + room, b"\0") + struct.pack("<QQQQQ", rip, 0x33, 0x202, rsp, 0x2B)

"""The exception directory (.pdata): which unwind information belongs to which code, as columns.

x64: rows of (BeginAddress, EndAddress, UnwindData), sorted, looked up by halves ("x64 exception handling", "PE Format").
ARM64 and ARM have rows of two words, the second packed or an address (.xdata).
"""

from __future__ import annotations

import numpy as np

from rtld.arch import x86_64_unwind as x64
from rtld.pe.columns import table
from rtld.pe.types import EXCEPTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.errors import FormatError
    from rtld.pe.columns import Array
    from rtld.pe.file import PeFile

_WHAT = "exception directory"
_WORDS = {"x86_64": 3, "aarch64": 2, "arm": 2}


class UnwindTable:
    """``begin``, ``end``, ``unwind`` int64[n], RVAs; ``address``: RVA of the table. Where rows are two words, ``end`` is 0."""

    __slots__ = ("address", "begin", "end", "row", "unwind")

    def __init__(self, address: int, row: int, begin: Array, end: Array, unwind: Array) -> None:
        self.address = address
        self.row = row  # bytes
        self.begin = begin
        self.end = end
        self.unwind = unwind

    def __len__(self) -> int:
        return len(self.begin)

    def find(self, rva: int) -> int:
        """The row of the function that an RVA is in; -1: none, a leaf."""
        row = int(np.searchsorted(self.begin, rva, side="right")) - 1
        return row if row >= 0 and rva < self.end.item(row) else -1


def unwind_table(file: PeFile) -> UnwindTable:
    """The exception directory of a file, decoded once; empty without one. FormatError when it is not inside a section."""
    found = file.cache.get("unwind table")
    if found is None:
        found = file.cache["unwind table"] = _decode(file)
    return found  # type: ignore[return-value]


def _decode(file: PeFile) -> UnwindTable:
    directory = file.directory(EXCEPTION)
    words = _WORDS.get(file.arch, 0)
    if directory is None or not directory.size or not words:
        nothing = np.zeros(0, np.int64)
        return UnwindTable(0, 12, nothing, nothing, nothing)
    row = 4 * words
    if directory.size % row:
        file.complain(_WHAT, "size", directory.size, f"a multiple of {row}")
    count = directory.size // row
    columns = table(file, directory.rva, words * count, "<u4", _WHAT).reshape(count, words)
    columns = columns.astype(np.int64)
    end = columns[:, 1] if words == 3 else np.zeros(count, np.int64)
    return UnwindTable(directory.rva, row, columns[:, 0].copy(), end, columns[:, -1].copy())


def unwind_info(file: PeFile, rva: int) -> x64.UnwindInfo:
    """The UNWIND_INFO of x64 at an RVA. FormatError."""

    def read(at: int, size: int) -> bytes:
        return file.read(at, size, "UNWIND_INFO")

    try:
        return x64.decode(read, rva)
    except x64.BadUnwindInfo as error:
        raise file.fail(f"UNWIND_INFO at {rva:#x}", error.field, error.found, error.expected) from None  # fmt: skip


def faults(file: PeFile) -> Iterator[FormatError]:
    """What is wrong with the table and with what its rows lead to: the first of each kind. FormatError as ``unwind_table``."""
    rows = unwind_table(file)
    if not len(rows):
        return
    order = np.flatnonzero(rows.begin[1:] < rows.begin[:-1])
    if len(order):
        bad = int(order[0]) + 1
        yield file.fail(_WHAT, f"BeginAddress of row {bad}", rows.begin.item(bad), f"at least {rows.begin.item(bad - 1):#x}, that of the row before: the table is searched by halves")  # fmt: skip
    if rows.row != 12:
        return
    empty = np.flatnonzero(rows.end <= rows.begin)
    if len(empty):
        bad = int(empty[0])
        yield file.fail(_WHAT, f"EndAddress of row {bad}", rows.end.item(bad), f"more than BeginAddress {rows.begin.item(bad):#x}")  # fmt: skip
    outside = np.flatnonzero(rows.end > file.size_of_image)
    if len(outside):
        bad = int(outside[0])
        yield file.fail(_WHAT, f"EndAddress of row {bad}", rows.end.item(bad), f"at most SizeOfImage {file.size_of_image:#x}")  # fmt: skip
    overlap = np.flatnonzero(rows.begin[1:] < rows.end[:-1])
    if len(overlap) and not len(order):
        bad = int(overlap[0]) + 1
        yield file.fail(_WHAT, f"BeginAddress of row {bad}", rows.begin.item(bad), f"at least {rows.end.item(bad - 1):#x}, the end of the row before")  # fmt: skip
    yield from _info_faults(file, rows)


def _info_faults(file: PeFile, rows: UnwindTable) -> Iterator[FormatError]:
    """The first UNWIND_INFO that cannot be decoded, leads back to itself, or has a handler outside the image."""
    from rtld.errors import FormatError

    known: dict[int, x64.UnwindInfo] = {}
    for first in np.unique(rows.unwind).tolist():
        rva, seen = first, set()
        if rva & 1:  # the RVA of another row, whose information is this one's, too
            continue
        while rva not in known:
            seen.add(rva)
            try:
                info = known[rva] = unwind_info(file, rva)
            except FormatError as error:
                yield error
                return
            if info.handler >= file.size_of_image:
                yield file.fail(f"UNWIND_INFO at {rva:#x}", "ExceptionHandler", info.handler, f"less than SizeOfImage {file.size_of_image:#x}")  # fmt: skip
                return
            if info.chain is None:
                break
            rva = info.chain.unwind
            if rva in seen:
                yield file.fail(f"UNWIND_INFO at {rva:#x}", "chain", rva, "an end")
                return

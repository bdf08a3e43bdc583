""".symtab of a file that is not stripped, for the image's own: names of functions that gdb and perf would show.

The only place where section headers are read; nothing that runs depends on them. What does not fit is no error here: such a
file counts as stripped.
"""

from __future__ import annotations

import struct

import numpy as np

from rtld.elf import types as t
from rtld.elf.flat import position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtld.elf.file import ElfFile
    from rtld.elf.flat import I64
    from rtld.frozen.plan import Plan

_SHT_SYMTAB = 2
_ROW = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"), ("size", "<u8")]
)  # fmt: skip


class StaticSymbols:
    """Functions and variables: columns of a file's .symtab, and positions (flat.py) of their names."""

    __slots__ = ("keep", "name", "rows")

    def __init__(self, rows: NDArray[np.void], name: I64, keep: object) -> None:
        self.rows = rows
        self.name = name
        self.keep = keep  # what the positions point into


def static_symbols(file: ElfFile) -> StaticSymbols | None:
    """None for a file without (sound) section headers or .symtab."""
    if file.size < 64:
        return None
    (shoff,) = struct.unpack_from("<Q", file.data, 40)
    shentsize, shnum = struct.unpack_from("<HH", file.data, 58)
    if shentsize != 64 or shoff == 0 or shoff + 64 * shnum > file.size:
        return None
    headers = [struct.unpack_from("<IIQQQQIIQQ", file.data, shoff + 64 * i) for i in range(shnum)]
    for header in headers:
        kind, offset, size, link = header[1], header[4], header[5], header[6]
        if kind == _SHT_SYMTAB and offset + size <= file.size and link < shnum:
            return _read(file, offset, size, headers[link])
    return None


def _read(file: ElfFile, offset: int, size: int, strings: tuple[int, ...]) -> StaticSymbols | None:
    begin, length = strings[4], strings[5]
    if not length or begin + length > file.size or file.data[begin + length - 1] != 0:
        return None
    # Names are read eight bytes at a time.
    text = bytes(file.data[begin : begin + length]) + bytes(16)
    rows = np.frombuffer(file.data, _ROW, size // 24, offset)
    kind = rows["info"] & 15
    good = (kind == t.STT_FUNC) | (kind == t.STT_OBJECT) | (kind == t.STT_GNU_IFUNC)
    good &= (rows["shndx"] != t.SHN_UNDEF) & (rows["shndx"] < 0xFF00) & (rows["name"] < length)
    rows = rows[good]
    return StaticSymbols(rows, position(memoryview(text)) + rows["name"].astype(np.int64), text)


def unstripped(plan: Plan) -> dict[int, StaticSymbols]:
    """Module index -> its symbols, of the modules that have a .symtab."""
    found = {}
    for module in plan.fused:
        symbols = static_symbols(module.file)
        if symbols is not None and len(symbols.rows):
            found[module.index] = symbols
    return found

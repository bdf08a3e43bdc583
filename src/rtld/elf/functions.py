"""Names of places in a file: functions and variables of .symtab, where it has one, and of the dynamic symbol table.

For people only: nothing that runs depends on section headers, and a file whose headers are unsound counts as stripped.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from typing import NamedTuple

from rtld.elf import types as t
from rtld.elf.tables import symbols
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.elf.file import ElfFile

_SHT_SYMTAB = 2
_FUNCTIONS = (t.STT_FUNC, t.STT_GNU_IFUNC)


class Named(NamedTuple):
    """A definition: where it begins in the file's addresses (ARM: without the bit of Thumb), its bytes, its name."""

    value: int
    size: int
    name: str


class Names:
    """What a file calls its places."""

    def __init__(self, file: ElfFile) -> None:
        even = -2 if file.machine == t.EM_ARM else -1
        found: dict[int, Named] = {}
        self._objects: dict[str, Named] = {}
        for kind, value, size, name in [*_static(file), *_dynamic(file)]:
            if kind in _FUNCTIONS:
                named = Named(value & even, size, name)
                found.setdefault(named.value, named)
            else:
                named = Named(value, size, name)
            self._objects.setdefault(name, named)
        self._functions = [found[value] for value in sorted(found)]
        self._starts = [each.value for each in self._functions]

    def function_at(self, vaddr: int) -> tuple[str, int]:
        """The function that an address is in, and how far; ("", 0) between functions whose sizes are known."""
        index = bisect_right(self._starts, vaddr) - 1
        if index < 0:
            return "", 0
        value, size, name = self._functions[index]
        if size and vaddr >= value + size:
            return "", 0
        return name, vaddr - value

    def find(self, name: str) -> Named | None:
        """A function or variable of that name."""
        return self._objects.get(name)


def names(file: ElfFile) -> Names:
    """The file's names, collected once."""
    known = file.cache.get("names")
    if not isinstance(known, Names):
        known = file.cache["names"] = Names(file)
    return known


def _wanted(info: int, section: int) -> bool:
    kind = info & 15
    return (kind in _FUNCTIONS or kind == t.STT_OBJECT) and section not in (t.SHN_UNDEF, t.SHN_ABS)


def _dynamic(file: ElfFile) -> Iterator[tuple[int, int, int, str]]:
    """(type, value, size, name) of .dynsym."""
    if file.dynamic is None:
        return
    try:
        for row in symbols(file):
            if _wanted(int(row["st_info"]), int(row["st_shndx"])):
                name = os.fsdecode(file.string_bytes(int(row["st_name"]), "st_name"))
                yield int(row["st_info"]) & 15, int(row["st_value"]), int(row["st_size"]), name
    except FormatError:
        return


def _static(file: ElfFile) -> Iterator[tuple[int, int, int, str]]:
    """The same of .symtab (gABI 4, "Section Headers", "Symbol Table")."""
    try:
        table = _symtab(file)
    except struct.error:
        table = None
    if table is None:
        return
    rows, text = table
    wide = file.bits == 64
    form = struct.Struct(file.order + ("IBBHQQ" if wide else "IIIBBH"))
    for row in form.iter_unpack(rows[: len(rows) - len(rows) % form.size]):
        if wide:
            name, info, _other, section, value, size = row
        else:
            name, value, size, info, _other, section = row
        end = text.find(b"\0", name) if name < len(text) else -1
        if _wanted(info, section) and end > name and text[name] != ord("$"):
            yield info & 15, value, size, os.fsdecode(text[name:end])


def _symtab(file: ElfFile) -> tuple[bytes, bytes] | None:
    """(rows, strings)."""
    data, order, wide = file.data, file.order, file.bits == 64
    if file.size < 64:
        return None
    (shoff,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 40 if wide else 32)
    shentsize, shnum = struct.unpack_from(order + "HH", data, 58 if wide else 46)
    form = struct.Struct(order + ("IIQQQQIIQQ" if wide else "10I"))
    if shentsize != form.size or not shoff or shoff + form.size * shnum > file.size:
        return None
    headers = [form.unpack_from(data, shoff + form.size * i) for i in range(shnum)]
    for header in headers:
        offset, size, link = header[4], header[5], header[6]
        if header[1] == _SHT_SYMTAB and offset + size <= file.size and link < shnum:
            begin, length = headers[link][4:6]
            if begin + length <= file.size:
                return bytes(data[offset : offset + size]), bytes(data[begin : begin + length])
    return None

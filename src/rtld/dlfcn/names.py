"""The names that a library offers, and what may stand for one."""

from __future__ import annotations

import os

from rtld.elf.scalar import dynsym

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.file import ElfFile

_BINDINGS = (1, 2, 10)  # STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE
_VISIBLE = (0, 3)  # STV_DEFAULT, STV_PROTECTED


def exported(file: ElfFile) -> list[str]:
    """The names it defines and offers, sorted."""
    from rtld.elf.tables import tables

    table = dynsym(file)
    names = set()
    for index in range(1, tables(file).nsyms):
        symbol = table.symbol(index)
        if symbol.section and symbol.info >> 4 in _BINDINGS and symbol.other & 3 in _VISIBLE:
            names.add(os.fsdecode(table.name(index)))
    return sorted(names)


def is_plain(function: object) -> bool:
    """A function of Python's that knows no C types: neither one of ctypes or of a guest, nor an address."""
    return callable(function) and not hasattr(function, "restype")

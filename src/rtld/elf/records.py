"""Relocation records in plain Python, for files of each class and byte order (gABI, "Relocation"): what small.py links with."""

from __future__ import annotations

import struct

from rtld.elf import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.elf.file import ElfFile


class GiveUp(Exception):
    """Something that is left to the column passes."""


class Form:
    """How a file's class and byte order have words, symbols, and REL and RELA records."""

    __slots__ = ("mask", "order", "pack", "rel", "rela", "shift", "symbol", "types", "word")

    def __init__(self, bits: int, order: str) -> None:
        wide = bits == 64
        self.word = bits // 8
        self.mask = (1 << bits) - 1
        self.order: Any = "little" if order == "<" else "big"
        self.pack = struct.Struct(order + ("Q" if wide else "I")).pack_into
        self.rela = struct.Struct(order + ("QQq" if wide else "IIi"))
        self.rel = struct.Struct(order + ("QQ" if wide else "II"))
        self.shift, self.types = (32, 0xFFFFFFFF) if wide else (8, 0xFF)
        self.symbol = 24 if wide else 16


_FORMS: dict[tuple[int, str], Form] = {}


def form_of(file: ElfFile) -> Form:
    """The file's ``Form``."""
    key = file.bits, file.order
    found = _FORMS.get(key)
    if found is None:
        found = _FORMS[key] = Form(*key)
    return found


def _tables(file: ElfFile) -> Iterator[tuple[int, int, int, bool]]:
    """(p_vaddr, size, how much of it only RELATIVE ones have, are they RELA) of each table of relocations."""
    dynamic, form = file.dynamic, form_of(file)
    if dynamic is None:
        return
    get = dynamic.get
    plt, plt_size = get(t.DT_JMPREL), get(t.DT_PLTRELSZ, 0) or 0
    plt_rela = get(t.DT_PLTREL) == t.DT_RELA
    for address, length, count, rela in (
        (t.DT_RELA, t.DT_RELASZ, t.DT_RELACOUNT, True),
        (t.DT_REL, t.DT_RELSZ, t.DT_RELCOUNT, False),
    ):
        begin, size = get(address), get(length, 0) or 0
        if begin is None or not size:
            continue
        if plt is not None and begin <= plt < begin + size and rela is plt_rela:
            size = plt - begin  # on RISC-V the table includes those of the PLT
        yield begin, size, (form.rela if rela else form.rel).size * (get(count, 0) or 0), rela
    if plt is not None and plt_size:
        yield plt, plt_size, 0, plt_rela


def _rows(file: ElfFile, at: int, end: int, rela: bool) -> Iterator[tuple[int, int, int, Any]]:
    form = form_of(file)
    shift, types = form.shift, form.types
    if rela:
        end -= (end - at) % form.rela.size
        for offset, info, addend in form.rela.iter_unpack(file.data[at:end]):
            yield offset, info & types, info >> shift, addend
    else:
        end -= (end - at) % form.rel.size
        for offset, info in form.rel.iter_unpack(file.data[at:end]):
            yield offset, info & types, info >> shift, None


class Records:
    """All records of a module: *relative* ones as (r_offset, addend), others as (r_offset, type, symbol, addend).

    The addend is None where it stands in the place (REL). More than *most* records are not read.
    """

    __slots__ = ("others", "relative")

    def __init__(self, file: ElfFile, relative: int | None, most: int) -> None:
        self.relative: list[tuple[int, Any]] = []
        self.others: list[tuple[int, int, int, Any]] = []
        dynamic, form = file.dynamic, form_of(file)
        if dynamic is None:
            return
        if not {t.DT_ANDROID_REL, t.DT_ANDROID_RELA, t.DT_ANDROID_RELR}.isdisjoint(dynamic):
            raise GiveUp
        shift, types = form.shift, form.types
        promise, keep = self.relative.append, self.others.append
        for address, length, _count, rela in _tables(file):
            layout = form.rela if rela else form.rel
            most -= length // layout.size
            if most < 0:
                raise GiveUp
            at = file.file_offset(address, length, "DT_RELA" if rela else "DT_REL")
            data = file.data[at : at + length - length % layout.size]
            if rela:
                for offset, info, addend in layout.iter_unpack(data):
                    if info == relative:
                        promise((offset, addend))
                    else:
                        keep((offset, info & types, info >> shift, addend))
            else:
                for offset, info in layout.iter_unpack(data):
                    if info == relative:
                        promise((offset, None))
                    else:
                        keep((offset, info & types, info >> shift, None))

    def __len__(self) -> int:
        return len(self.relative) + len(self.others)


def records_with_symbols(file: ElfFile) -> Iterator[tuple[int, int, int, Any]]:
    """The records behind the promised RELATIVE ones that name a symbol; of libraries of any size."""
    for address, length, relative, rela in _tables(file):
        if length <= relative:
            continue
        at = file.file_offset(address, length, "DT_RELA" if rela else "DT_REL")
        for row in _rows(file, at + relative, at + length, rela):
            if row[2]:
                yield row

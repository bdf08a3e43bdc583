"""The dynamic symbols of a bundle: what it offers, what it asks for, and the versions of that.

Offered is the first definition of every name, as the scope has it; nothing that a library of libc's defines before it. A
definition has no version: ld.so takes it for every one (elf/dl-lookup.c, check_match). Asked for are the symbols of the
open words, with the versions that libc's own definitions have.
"""

from __future__ import annotations

import os
import struct

from rtld.elf import types as t
from rtld.elf.hash import sysv_hash
from rtld.elf.tables import tables
from rtld.process.bundle.encode import Encoder, Strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.core.module import Module
    from rtld.elf.file import ElfFile
    from rtld.process.bundle.plan import Bundle

_TYPES = {
    t.STT_NOTYPE, t.STT_OBJECT, t.STT_FUNC, t.STT_COMMON, t.STT_TLS, t.STT_GNU_IFUNC,
}  # fmt: skip
_HIDDEN = 0x8000


class Symbol:
    """A row of a module's symbol table."""

    __slots__ = ("index", "info", "name", "other", "section", "size", "value", "version")

    def __init__(self, index: int, name: bytes, row: tuple[int, ...], version: int) -> None:
        self.index = index
        self.name = name
        self.info, self.other, self.section, self.value, self.size = row
        self.version = version  # the word of DT_VERSYM; -1 without one

    @property
    def kind(self) -> int:
        """STT_*."""
        return self.info & 15

    @property
    def is_offered(self) -> bool:
        """May others be bound to it, where they ask for no version or for the default one?"""
        return (
            self.info >> 4 in (t.STB_GLOBAL, t.STB_WEAK, t.STB_GNU_UNIQUE)
            and self.other & 3 in (t.STV_DEFAULT, t.STV_PROTECTED)
            and self.kind in _TYPES
            and (self.version < 0 or (self.version & 0x7FFF != 0 and not self.version & _HIDDEN))
        )


def read_symbols(file: ElfFile) -> Iterator[Symbol]:
    """All but the null symbol."""
    table = tables(file)
    if table.nsyms < 2:
        return
    wide = file.bits == 64
    form = struct.Struct(file.order + ("IBBHQQ" if wide else "IIIBBH"))
    start, size = file.strings()
    strings = bytes(file.data[start : start + size])
    at = table.symtab - table.base
    rows = form.iter_unpack(file.data[at : at + table.nsyms * form.size])
    versions: tuple[int, ...] = ()
    if table.versym >= 0:
        where = table.versym - table.base
        versions = struct.unpack_from(f"{file.order}{table.nsyms}H", file.data, where)
    for index, row in enumerate(rows):
        if not index:
            continue
        if wide:
            name, *rest = row
        else:
            name, value, length, info, other, section = row
            rest = [info, other, section, value, length]
        if name >= size:
            raise file.fail("symbol", "st_name", name, f"less than DT_STRSZ {size:#x}")
        end = strings.find(b"\0", name)
        text = strings[name : end if end >= 0 else size]
        yield Symbol(index, text, tuple(rest), versions[index] if versions else -1)


class Versions:
    """DT_VERNEED (LSB, "Symbol Versioning"): numbers from 2 on."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[bytes, bytes], int] = {}

    def need(self, file: bytes, name: bytes) -> int:
        return self.numbers.setdefault((file, name), len(self.numbers) + 2)

    def table(self, order: str, strings: Strings) -> tuple[bytes, int]:
        """The table and the number of its files."""
        files: dict[bytes, list[tuple[bytes, int]]] = {}
        for (file, name), index in self.numbers.items():
            files.setdefault(file, []).append((name, index))
        data = bytearray()
        for place, (file, names) in enumerate(files.items()):
            step = 16 + 16 * len(names) if place + 1 < len(files) else 0
            data += struct.pack(order + "HHIII", 1, len(names), strings.add(file), 16, step)
            for last, (name, index) in enumerate(names, 1):
                hop = 16 if last < len(names) else 0
                row = (sysv_hash(name), 0, index, strings.add(name), hop)
                data += struct.pack(order + "IHHII", *row)
        return bytes(data), len(files)


class Symbols:
    """DT_SYMTAB as it grows: what is offered, then what is asked for."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.strings = Strings()
        self.versions = Versions()
        self.names: list[bytes] = [b""]
        self.rows: list[bytes] = [encoder.symbol(0, 0, 0, 0, 0, 0)]
        self.versym: list[int] = [0]

    def add(
        self, name: bytes, info: int, other: int, section: int, value: int, size: int, version: int
    ) -> int:
        """A symbol's index."""
        self.names.append(name)
        self.versym.append(version)
        where = self.strings.add(name)
        self.rows.append(self.encoder.symbol(where, info, other, section, value, size))
        return len(self.rows) - 1


def soname_of(module: Module) -> bytes:
    return os.fsencode(module.soname or os.path.basename(module.path))


def _defined_before(bundle: Bundle) -> dict[bytes, int]:
    """name -> place in the scope of the first library of libc's that defines it."""
    first: dict[bytes, int] = {}
    for place, module in enumerate(bundle.ns.global_scope.modules):
        if module.hosted and module is not bundle.ns.interp:
            for symbol in read_symbols(module.file):
                if symbol.section != t.SHN_UNDEF and symbol.is_offered:
                    first.setdefault(symbol.name, place)
    return first


def offer(bundle: Bundle, symbols: Symbols) -> dict[int, int]:
    """Definitions. Returns where the program's symbols have gone: index there -> index here."""
    before = _defined_before(bundle)
    copied = {row.symbol: row for row in bundle.copied}
    taken: set[bytes] = set()
    places: dict[int, int] = {}
    for place, module in enumerate(bundle.ns.global_scope.modules):
        if module.hosted:
            continue
        for symbol in read_symbols(module.file):
            is_copy = module is bundle.main and symbol.index in copied
            if symbol.section == t.SHN_UNDEF or not (symbol.is_offered or is_copy):
                continue
            if symbol.name in taken or before.get(symbol.name, place) < place:
                continue
            taken.add(symbol.name)
            value, section = symbol.value + module.base, 1
            if symbol.kind == t.STT_TLS:
                value = symbol.value + module.tls_block
            elif symbol.section == t.SHN_ABS:
                value, section = symbol.value, t.SHN_ABS
            version = (
                _asked_version(bundle, symbols, copied[symbol.index].reference) if is_copy else 1
            )
            found = symbols.add(
                symbol.name, symbol.info, symbol.other, section, value, symbol.size, version
            )
            if module is bundle.main:
                places[symbol.index] = found
    return places


def _asked_version(bundle: Bundle, symbols: Symbols, reference: int) -> int:
    """The number of the version that the definition in libc has."""
    b = bundle.ns.bindings
    number = int(b.definer[reference])
    if number < 0:
        return 1
    module = bundle.ns.columns.modules[number]
    table = tables(module.file)
    if table.versym < 0:
        return 1
    at = table.versym - table.base + 2 * int(b.definition[reference])
    (index,) = struct.unpack_from(bundle.order + "H", module.file.data, at)
    name, _hidden = table.versions.get(index & 0x7FFF, (b"", False))
    return symbols.versions.need(soname_of(module), name) if index & 0x7FFF > 1 and name else 1


def ask(bundle: Bundle, symbols: Symbols) -> dict[int, int]:
    """What open words name: reference -> index of the symbol."""
    b = bundle.ns.bindings
    canonical = _canonical(bundle)
    known: dict[tuple[bytes, int, bool], int] = {}
    asked: dict[int, int] = {}
    for row in bundle.open:
        if row.reference < 0 or row.reference in asked:
            continue
        name = os.fsencode(b.name(row.reference))
        missing = int(b.definer[row.reference]) < 0
        version = _asked_version(bundle, symbols, row.reference)
        key = (name, version, missing)
        found = known.get(key)
        if found is None:
            # A function that nobody defines may be called never: then nobody must miss it.
            bind = t.STB_WEAK if missing else t.STB_GLOBAL
            value = canonical.get(name, 0)
            kind = t.STT_FUNC if value else t.STT_NOTYPE
            found = known[key] = symbols.add(name, bind << 4 | kind, 0, 0, value, 0, version)
        asked[row.reference] = found
    return asked


def _canonical(bundle: Bundle) -> dict[bytes, int]:
    """Functions of libc whose address is, to everybody, that of the program's PLT entry."""
    flag = bundle.arch.implicit_got.STO_PLT if bundle.arch.implicit_got is not None else 0
    return {
        symbol.name: symbol.value + bundle.main.base
        for symbol in read_symbols(bundle.main.file)
        if symbol.section == t.SHN_UNDEF
        and symbol.value
        and symbol.kind == t.STT_FUNC
        and (not flag or symbol.other & flag)
    }

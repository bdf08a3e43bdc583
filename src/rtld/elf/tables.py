"""The tables behind the dynamic section, located and checked: symbols, strings, hashes, versions, relocations.

``tables(file)`` gives a ``Tables``: positions (flat.py) and counts, so that the passes can gather from all modules at
once. ``symbols(file)`` and friends give the same tables of one file as numpy columns, for people. Nothing is copied.
Without section headers the number of symbols is the end of the last .gnu.hash chain, or DT_HASH's nchain.
"""

from __future__ import annotations

import struct

import numpy as np

from rtld.elf import types as t
from rtld.elf.flat import flat, position
from rtld.elf.packed import PACKED_MAGIC, unpack_aps2, unpack_relr
from rtld.elf.verneed import (
    VersionDef,
    VersionNeed,
    defined_versions,
    needed_versions,
    version_table,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from rtld.elf.file import Dynamic, ElfFile
    from rtld.elf.flat import U32


class RelocTable:
    """One table of REL or RELA entries: position of the first, count, entry size, which it is."""

    __slots__ = ("count", "entsize", "is_rela", "name", "plt", "position", "relative")

    def __init__(
        self, name: str, position: int, count: int, entsize: int, is_rela: bool, plt: bool
    ) -> None:
        self.name = name
        self.position = position
        self.count = count
        self.entsize = entsize
        self.is_rela = is_rela
        self.plt = plt
        self.relative = 0  # leading entries that DT_RELACOUNT promises to be RELATIVE


class Tables:
    """Where one file's tables are. All positions have been checked to lie inside the file's bytes."""

    __slots__ = (
        "base",
        "chains",
        "chains_count",
        "first_hashed",
        "gnu",
        "hash_style",
        "keep",
        "nbuckets",
        "needs",
        "nsyms",
        "order",
        "relocs",
        "relr",
        "strsz",
        "strtab",
        "syment",
        "symtab",
        "symtab_limit",
        "sysv",
        "verdefs",
        "versions",
        "versym",
        "versym_limit",
    )

    def __init__(self, file: ElfFile) -> None:
        self.order = file.order
        self.keep: list[object] = [
            file.data
        ]  # what must stay alive for the positions to stay valid
        self.base = position(file.data)
        self.nsyms = self.symtab = self.symtab_limit = self.strtab = self.strsz = 0
        self.syment = 24 if file.bits == 64 else 16
        self.versym = -1
        self.versym_limit = 0
        self.hash_style = ""
        self.gnu: tuple[int, ...] = ()
        self.sysv: tuple[int, ...] = ()
        self.chains = self.chains_count = self.first_hashed = self.nbuckets = 0
        self.needs: list[VersionNeed] = []
        self.verdefs: list[VersionDef] = []
        self.versions: dict[int, tuple[bytes, bool]] = {}  # index -> (name, hidden)
        self.relocs: list[RelocTable] = []
        self.relr: NDArray[np.uint64] | None = None
        dynamic = file.dynamic
        if dynamic is None:
            return
        if t.DT_STRTAB in dynamic and t.DT_SYMTAB in dynamic:
            self._read_strings(file)
            self._read_symtab(file, dynamic)
            self._read_hashes(file, dynamic)
            self._read_versions(file, dynamic)
        self._read_relocs(file, dynamic)

    # -- symbols and strings ----------------------------------------------------------------------

    def _read_strings(self, file: ElfFile) -> None:
        start, self.strsz = file.strings()
        self.strtab = self.base + start
        # Names are read eight bytes at a time: a table at the very end of its memory is read from a padded copy.
        slack = -file.size % 4096 if file.path is not None else 0
        if start + self.strsz + 8 > file.size + slack:
            copy = bytes(file.data[start : start + self.strsz]) + bytes(16)
            self.keep.append(copy)
            self.strtab = position(memoryview(copy))

    def _read_symtab(self, file: ElfFile, dynamic: Dynamic) -> None:
        entsize = dynamic.get(t.DT_SYMENT, self.syment)
        if entsize != self.syment:
            raise file.fail("dynamic section", "DT_SYMENT", entsize, self.syment)
        address = dynamic[t.DT_SYMTAB]
        offset = file.file_offset(address, self.syment, "DT_SYMTAB")
        self.symtab = self.base + offset
        # How many symbols could there be at most: a relocation may name any of them.
        self.symtab_limit = (file.load_end(offset) - offset) // self.syment

    def _read_hashes(self, file: ElfFile, dynamic: Dynamic) -> None:
        if t.DT_GNU_HASH in dynamic:
            self._read_gnu_hash(file, dynamic[t.DT_GNU_HASH])
        elif t.DT_HASH in dynamic:
            self._read_sysv_hash(file, dynamic[t.DT_HASH])
        elif t.DT_MIPS_XHASH in dynamic and file.machine == t.EM_MIPS:
            # A GNU hash table whose chains lead to symbols through one more table, since MIPS orders symbols by its
            # GOT. It has every definition, so hashing all symbols ourselves finds the same.
            self.hash_style = "sysv"
        if t.DT_MIPS_SYMTABNO in dynamic and file.machine == t.EM_MIPS:
            self.nsyms = max(self.nsyms, dynamic[t.DT_MIPS_SYMTABNO])
        if self.nsyms > self.symtab_limit:
            raise file.fail(
                "symbol table", "number of symbols", self.nsyms, f"at most {self.symtab_limit}"
            )

    def _read_gnu_hash(self, file: ElfFile, address: int) -> None:
        size = file.bits // 8
        offset = file.file_offset(address, 16, "DT_GNU_HASH")
        nbuckets, first, nbloom, shift = struct.unpack_from(file.order + "4I", file.data, offset)
        if nbloom == 0 or nbloom & (nbloom - 1):
            raise file.fail("DT_GNU_HASH", "bloom size", nbloom, "a power of two")
        if nbuckets == 0:
            raise file.fail("DT_GNU_HASH", "nbuckets", 0, "at least 1")
        head = 16 + nbloom * size
        file.file_offset(address, head + 4 * nbuckets, "DT_GNU_HASH")
        buckets_at = offset + head
        chains_at = buckets_at + 4 * nbuckets
        self.hash_style = "gnu"
        self.nbuckets = nbuckets
        self.gnu = (offset, nbuckets, first, nbloom, shift, buckets_at, chains_at)
        self.chains = self.base + chains_at
        self.first_hashed = first
        top = int(np.frombuffer(file.data, file.order + "u4", nbuckets, buckets_at).max())
        if top == 0:
            self.nsyms = min(first, self.symtab_limit)
            return
        if top < first:
            raise file.fail(
                "DT_GNU_HASH",
                "highest bucket",
                top,
                f"0 or at least the first hashed symbol {first}",
            )
        # The last chain ends at the first odd hash.
        word = struct.Struct(file.order + "I")
        end = file.load_end(offset)
        at = chains_at + 4 * (top - first)
        while True:
            if at + 4 > end:
                raise file.fail(
                    "DT_GNU_HASH", "last chain", "unterminated", "an odd hash value at its end"
                )
            if word.unpack_from(file.data, at)[0] & 1:
                break
            at += 4
        self.chains_count = (at - chains_at) // 4 + 1
        self.nsyms = first + self.chains_count

    def _read_sysv_hash(self, file: ElfFile, address: int) -> None:
        self.hash_style = "sysv"
        width = sysv_entry_size(file, address)
        form = "I" if width == 4 else "Q"
        offset = file.file_offset(address, 2 * width, "DT_HASH")
        nbuckets, nchain = struct.unpack_from(file.order + 2 * form, file.data, offset)
        if nbuckets == 0 and nchain:
            raise file.fail("DT_HASH", "nbucket", 0, "at least 1")
        file.file_offset(address, width * (2 + nbuckets + nchain), "DT_HASH")
        self.nbuckets = nbuckets
        self.nsyms = nchain
        self.sysv = (offset, nbuckets, nchain, width)

    # -- versions ---------------------------------------------------------------------------------

    def _read_versions(self, file: ElfFile, dynamic: Dynamic) -> None:
        self.needs = needed_versions(file)
        self.verdefs = defined_versions(file)
        if t.DT_VERSYM in dynamic:
            offset = file.file_offset(dynamic[t.DT_VERSYM], 2 * self.nsyms, "DT_VERSYM")
            self.versym = self.base + offset
            # Undefined symbols may stand past the last hashed one; their versions do too.
            self.versym_limit = (file.load_end(offset) - offset) // 2
        self.versions = version_table(self.needs, self.verdefs)

    # -- relocations ------------------------------------------------------------------------------

    def _read_relocs(self, file: ElfFile, dynamic: Dynamic) -> None:
        word = file.bits // 8
        self._add(file, dynamic, "DT_REL", t.DT_REL, t.DT_RELSZ, t.DT_RELENT, False)
        self._add(file, dynamic, "DT_RELA", t.DT_RELA, t.DT_RELASZ, t.DT_RELAENT, True)
        for table in self.relocs:
            promised = dynamic.get(t.DT_RELACOUNT if table.is_rela else t.DT_RELCOUNT, 0) or 0
            table.relative = min(promised, table.count)
        self._add_plt(file, dynamic)
        for tag, size_tag, rela in (
            (t.DT_ANDROID_REL, t.DT_ANDROID_RELSZ, False),
            (t.DT_ANDROID_RELA, t.DT_ANDROID_RELASZ, True),
        ):
            if tag in dynamic:
                self._add_packed(file, dynamic[tag], dynamic.get(size_tag, 0) or 0, rela)
        for tag, size_tag, ent_tag in (
            (t.DT_RELR, t.DT_RELRSZ, t.DT_RELRENT),
            (t.DT_ANDROID_RELR, t.DT_ANDROID_RELRSZ, t.DT_ANDROID_RELRENT),
        ):
            if tag in dynamic:
                size = dynamic.get(size_tag, 0) or 0
                entsize = dynamic.get(ent_tag, word)
                if entsize != word or size % word:
                    raise file.fail(
                        "DT_RELR",
                        "DT_RELRENT, DT_RELRSZ",
                        entsize,
                        f"{word}, and a size that it divides",
                    )
                offset = file.file_offset(dynamic[tag], size, "DT_RELR")
                entries = np.frombuffer(file.data, f"{file.order}u{word}", size // word, offset)
                self.relr = unpack_relr(entries, word, file)

    def _add(
        self,
        file: ElfFile,
        dynamic: Dynamic,
        name: str,
        tag: int,
        size_tag: int,
        ent_tag: int,
        rela: bool,
    ) -> None:
        size = dynamic.get(size_tag, 0) or 0
        if tag not in dynamic or size == 0:
            return
        entsize = (3 if rela else 2) * file.bits // 8
        found = dynamic.get(ent_tag, entsize)
        if found != entsize:
            raise file.fail("dynamic section", name + "ENT", found, entsize)
        offset = file.file_offset(dynamic[tag], size, name)
        self.relocs.append(
            RelocTable(name, self.base + offset, size // entsize, entsize, rela, False)
        )

    def _add_plt(self, file: ElfFile, dynamic: Dynamic) -> None:
        size = dynamic.get(t.DT_PLTRELSZ, 0) or 0
        if t.DT_JMPREL not in dynamic or size == 0:
            return
        kind = dynamic.get(t.DT_PLTREL)
        if kind not in (t.DT_REL, t.DT_RELA):
            raise file.fail(
                "dynamic section", "DT_PLTREL", kind, f"{t.DT_REL} (REL) or {t.DT_RELA} (RELA)"
            )
        rela = kind == t.DT_RELA
        entsize = (3 if rela else 2) * file.bits // 8
        offset = file.file_offset(dynamic[t.DT_JMPREL], size, "DT_JMPREL")
        begin = self.base + offset
        for table in self.relocs:
            # Some linkers count the PLT's entries in DT_RELASZ too (all of RISC-V): they are one range, not two.
            end = table.position + table.count * table.entsize
            if table.is_rela == rela and table.position <= begin < end:
                table.count = (begin - table.position) // entsize
                table.relative = min(table.relative, table.count)
        self.relocs.append(RelocTable("DT_JMPREL", begin, size // entsize, entsize, rela, True))

    def _add_packed(self, file: ElfFile, address: int, size: int, rela: bool) -> None:
        offset = file.file_offset(address, size, "DT_ANDROID_REL")
        raw = file.data[offset : offset + size]
        if bytes(raw[:4]) != PACKED_MAGIC:
            raise file.fail("DT_ANDROID_REL", "magic", bytes(raw[:4]), "'APS2'")
        table = unpack_aps2(bytes(raw[4:]), rela, file)
        self.keep.append(table)
        entsize = (3 if rela else 2) * file.bits // 8
        where = position(memoryview(table)) if len(table) else 0
        self.relocs.append(
            RelocTable("DT_ANDROID_REL", where, len(table) // entsize, entsize, rela, False)
        )


def sysv_entry_size(file: ElfFile, address: int) -> int:
    """4, but 8 in 64-bit s390x files of binutils (lld writes 4 there too): what the numbers allow decides."""
    if file.machine != t.EM_S390 or file.bits != 64:
        return 4
    offset = file.file_offset(address, 16, "DT_HASH")
    nbuckets, nchain = struct.unpack_from(file.order + "QQ", file.data, offset)
    return 8 if nbuckets < 1 << 32 and nchain < 1 << 32 else 4


def tables(file: ElfFile) -> Tables:
    """The file's tables, decoded once."""
    found = file.cache.get("tables")
    if found is None:
        found = file.cache["tables"] = Tables(file)
    return found  # type: ignore[return-value]


# fmt: off
_SYM64 = [("st_name", "u4"), ("st_info", "u1"), ("st_other", "u1"), ("st_shndx", "u2"), ("st_value", "u8"), ("st_size", "u8")]
_SYM32 = [("st_name", "u4"), ("st_value", "u4"), ("st_size", "u4"), ("st_info", "u1"), ("st_other", "u1"), ("st_shndx", "u2")]
# fmt: on


def symbols(file: ElfFile) -> NDArray[Any]:
    """The dynamic symbols as a structured array over the file's own bytes: st_name, st_info, st_other, ..."""
    table = tables(file)
    order = file.order
    fields = [
        (name, form if form == "u1" else order + form)
        for name, form in (_SYM64 if file.bits == 64 else _SYM32)
    ]
    dtype = np.dtype(fields)
    count = symbol_count(file)
    if count == 0:
        return np.empty(0, dtype)
    return np.frombuffer(file.data, dtype, count, table.symtab - table.base)


def symbol_count(file: ElfFile) -> int:
    """How many dynamic symbols there are, as far as can be known without section headers.

    .gnu.hash ends with what the file defines; of a file that defines nothing it says nothing. Then the highest index
    that a relocation names counts.
    """
    table = tables(file)
    if not table.symtab_limit:
        return 0
    word = file.bits // 8
    highest = table.nsyms - 1
    mips64 = file.machine == t.EM_MIPS and word == 8
    for run in table.relocs:
        # r_info's symbol: the upper half of 64 bits (the first four bytes on MIPS), the upper 24 of 32 bits.
        at = run.position + word + (4 if word == 8 and file.order == "<" and not mips64 else 0)
        column = flat(file.order + "u4")[at : at + (run.count - 1) * run.entsize + 1 : run.entsize]
        top = int(column.max()) if run.count else 0
        highest = max(highest, top if word == 8 else top >> 8)
    return min(highest + 1, table.symtab_limit)


def versym(file: ElfFile) -> NDArray[np.uint16] | None:
    """DT_VERSYM, one per symbol, or None when the file has no versions."""
    table = tables(file)
    if table.versym < 0:
        return None
    count = min(symbol_count(file), table.versym_limit)
    return np.frombuffer(file.data, file.order + "u2", count, table.versym - table.base)


def chains(file: ElfFile) -> U32:
    """The hash values of .gnu.hash, one per symbol from ``first_hashed`` on; the low bit ends a bucket."""
    table = tables(file)
    if table.chains_count == 0:
        return np.empty(0, file.order + "u4")
    return np.frombuffer(
        file.data, file.order + "u4", table.chains_count, table.chains - table.base
    )

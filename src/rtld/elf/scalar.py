"""Look-up of one name in one file at a time, in plain Python: for dlsym, dladdr and the few names we replace ourselves.

The rules for a single definition are those of ``lookup.py``; the tables are read straight from the file's bytes.
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.elf import types as t
from rtld.elf.verneed import defined_versions, needed_versions, version_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.file import ElfFile

#: One entry of a dynamic symbol table.
Symbol = namedtuple("Symbol", "name info other section value size")

_TYPES = (t.STT_NOTYPE, t.STT_OBJECT, t.STT_FUNC, t.STT_COMMON, t.STT_TLS, t.STT_GNU_IFUNC)
_BINDS = (t.STB_GLOBAL, t.STB_WEAK, t.STB_GNU_UNIQUE)
_SYM64 = struct.Struct("<IBBHQQ")


def gnu_hash(name: bytes) -> int:
    """The GNU hash of one name."""
    h = 5381
    for c in name:
        h = (h * 33 + c) & 0xFFFFFFFF
    return h


class Dynsym:
    """The dynamic symbols of a 64-bit little-endian file, found by name or by address."""

    __slots__ = (
        "_by_address",
        "_gnu",
        "_sysv",
        "_versions",
        "count",
        "data",
        "file",
        "strtab",
        "symtab",
        "versym",
    )

    def __init__(self, file: ElfFile) -> None:
        self.file = file
        self.data = file.data
        self._gnu: tuple[int, ...] | None = None
        self._sysv: tuple[int, ...] | None = None
        self._versions: dict[int, bytes] | None = None
        self._by_address: list[tuple[int, int, int]] | None = None
        self.count = self.symtab = self.strtab = 0
        self.versym = -1
        dynamic = file.dynamic
        if dynamic is None or t.DT_SYMTAB not in dynamic or t.DT_STRTAB not in dynamic:
            return
        self.symtab = file.file_offset(dynamic[t.DT_SYMTAB], 24, "DT_SYMTAB")
        self.strtab = file.strings()[0]
        if t.DT_VERSYM in dynamic:
            self.versym = file.file_offset(dynamic[t.DT_VERSYM], 2, "DT_VERSYM")
        if t.DT_GNU_HASH in dynamic:
            at = file.file_offset(dynamic[t.DT_GNU_HASH], 16, "DT_GNU_HASH")
            nbuckets, first, nbloom, shift = struct.unpack_from("<4I", self.data, at)
            buckets = at + 16 + 8 * nbloom
            self._gnu = (nbuckets, first, nbloom, shift, at + 16, buckets, buckets + 4 * nbuckets)
        elif t.DT_HASH in dynamic:
            at = file.file_offset(dynamic[t.DT_HASH], 8, "DT_HASH")
            nbuckets, nchain = struct.unpack_from("<II", self.data, at)
            self._sysv = (nbuckets, nchain, at + 8, at + 8 + 4 * nbuckets)

    def symbol(self, index: int) -> Symbol:
        """Entry *index*; the name is an offset into the string table."""
        return Symbol._make(_SYM64.unpack_from(self.data, self.symtab + 24 * index))

    def name(self, index: int) -> bytes:
        """The name of entry *index*."""
        (offset,) = struct.unpack_from("<I", self.data, self.symtab + 24 * index)
        return self.file.string_bytes(offset, "st_name")

    def named(self, name: bytes, hashed: int | None = None) -> list[int]:
        """Indices of all entries of this name that the hash table offers, in its order."""
        if self._gnu is not None:
            return self._named_gnu(name, gnu_hash(name) if hashed is None else hashed)
        if self._sysv is not None:
            return self._named_sysv(name)
        return []

    def _same(self, index: int, name: bytes) -> bool:
        (offset,) = struct.unpack_from("<I", self.data, self.symtab + 24 * index)
        at = self.strtab + offset
        return self.data[at : at + len(name)] == name and self.data[at + len(name)] == 0

    def _named_gnu(self, name: bytes, h: int) -> list[int]:
        assert self._gnu is not None
        data = self.data
        nbuckets, first, nbloom, shift, bloom, buckets, chains = self._gnu
        at = bloom + 8 * (h >> 6 & nbloom - 1)
        word = int.from_bytes(data[at : at + 8], "little")
        if not (word >> (h & 63) & word >> (h >> shift & 63)) & 1 or not nbuckets:
            return []
        at = buckets + 4 * (h % nbuckets)
        index = int.from_bytes(data[at : at + 4], "little")
        found: list[int] = []
        if index < first:
            return found
        while True:
            at = chains + 4 * (index - first)
            other = int.from_bytes(data[at : at + 4], "little")
            if at + 4 > len(data):
                return found  # a chain without an end
            if (other ^ h) >> 1 == 0 and self._same(index, name):
                found.append(index)
            if other & 1:
                return found
            index += 1

    def _named_sysv(self, name: bytes) -> list[int]:
        assert self._sysv is not None
        nbuckets, nchain, buckets, chains = self._sysv
        if not nbuckets:
            return []
        h = 0
        for c in name:
            h = (h << 4) + c
            h = (h ^ (h >> 24 & 0xF0)) & 0x0FFFFFFF
        (index,) = struct.unpack_from("<I", self.data, buckets + 4 * (h % nbuckets))
        found: list[int] = []
        steps = 0
        while index and index < nchain and steps <= nchain:
            if self._same(index, name):
                found.append(index)
            (index,) = struct.unpack_from("<I", self.data, chains + 4 * index)
            steps += 1
        return found

    def version(self, index: int) -> int:
        """The DT_VERSYM entry of a symbol; -1 when the file has no versions."""
        if self.versym < 0:
            return -1
        return int.from_bytes(
            self.data[self.versym + 2 * index : self.versym + 2 * index + 2], "little"
        )

    def version_names(self) -> dict[int, bytes]:
        """Version index -> name, of the versions the file defines (not its base) and those it needs."""
        if self._versions is None:
            table = version_table(needed_versions(self.file), defined_versions(self.file))
            self._versions = {index: name for index, (name, _hidden) in table.items()}
        return self._versions

    def lookup(
        self,
        name: bytes,
        version: bytes | None,
        hashed: int,
        *,
        newest: bool,
        plt: bool = False,
        base: bool = False,
    ) -> int:
        """The entry that defines *name*, or 0 (glibc: check_match and do_lookup_x in elf/dl-lookup.c).

        *newest*: without a version the default one is meant (dlsym), not the oldest (a reference without versions). *base*: a
        definition without a version will do for one that is asked for (a reference, not dlvsym).
        """
        versioned, count = 0, 0
        for index in self.named(name, hashed):
            s = self.symbol(index)
            kind = s.info & 15
            if s.value == 0 and s.section != t.SHN_ABS and kind != t.STT_TLS:
                continue
            if s.section == t.SHN_UNDEF and (plt or kind == t.STT_TLS):
                continue
            if kind not in _TYPES:
                continue
            raw = self.version(index)
            if raw >= 0:
                own = self.version_names().get(raw & 0x7FFF)
                if version is not None:
                    if own != version and not (base and own is None and not raw & 0x8000):
                        continue
                elif raw & 0x7FFF >= (2 if newest else 3):
                    # Of versioned definitions a hidden one is not meant; a single other one is.
                    if not raw & 0x8000:
                        count += 1
                        versioned = versioned or index
                    continue
            return index if self._offered(s) else 0
        return versioned if count == 1 and self._offered(self.symbol(versioned)) else 0

    @staticmethod
    def _offered(s: Symbol) -> bool:
        return s.info >> 4 in _BINDS and s.other & 3 in (t.STV_DEFAULT, t.STV_PROTECTED)

    def nearest(self, address: int) -> int:
        """The entry whose range has p_vaddr *address*, else 0 (glibc: determine_info in elf/dl-addr.c)."""
        import bisect

        rows = self._by_address
        if rows is None:
            rows = self._by_address = self._collect()
        at = bisect.bisect_right(rows, (address, 1 << 64, 0)) - 1
        best = 0
        while (
            at >= 0
            and rows[at][0] == (rows[bisect.bisect_right(rows, (address, 1 << 64, 0)) - 1][0])
        ):
            value, size, index = rows[at]
            if (size == 0 and value == address) or value <= address < value + size:
                best = index
            at -= 1
        return best

    def _collect(self) -> list[tuple[int, int, int]]:
        from rtld.elf.tables import tables

        rows = []
        for index in range(1, tables(self.file).nsyms):
            s = self.symbol(index)
            if s.info & 15 == t.STT_TLS or (s.section == t.SHN_UNDEF and s.value == 0):
                continue
            rows.append((s.value, s.size, index))
        rows.sort()
        return rows


class AnyDynsym(Dynsym):
    """The same for files of either class and byte order. Slower: nearly all files are of the kind above."""

    __slots__ = ("_entry", "_order", "_symbol", "_word", "_words")

    def __init__(self, file: ElfFile) -> None:
        self._order = file.order
        self._word = file.bits // 8
        self._entry = 24 if file.bits == 64 else 16
        self._symbol = struct.Struct(file.order + ("IBBHQQ" if file.bits == 64 else "IIIBBH"))
        self._words = 4
        self.file = file
        self.data = file.data
        self._gnu = self._sysv = self._versions = self._by_address = None
        self.count = self.symtab = self.strtab = 0
        self.versym = -1
        dynamic = file.dynamic
        if dynamic is None or t.DT_SYMTAB not in dynamic or t.DT_STRTAB not in dynamic:
            return
        self.symtab = file.file_offset(dynamic[t.DT_SYMTAB], self._entry, "DT_SYMTAB")
        self.strtab = file.strings()[0]
        if t.DT_VERSYM in dynamic:
            self.versym = file.file_offset(dynamic[t.DT_VERSYM], 2, "DT_VERSYM")
        if t.DT_GNU_HASH in dynamic:
            at = file.file_offset(dynamic[t.DT_GNU_HASH], 16, "DT_GNU_HASH")
            nbuckets, first, nbloom, shift = self._numbers(at, 4)
            buckets = at + 16 + self._word * nbloom
            self._gnu = (nbuckets, first, nbloom, shift, at + 16, buckets, buckets + 4 * nbuckets)
        elif t.DT_HASH in dynamic:
            at = file.file_offset(dynamic[t.DT_HASH], 8, "DT_HASH")
            # On s390x binutils write 8 bytes an entry, lld 4: in words of 4 the first of 8, big-endian, is 0.
            if self._order == ">" and self._numbers(at, 1) == (0,):
                self._words = 8
            nbuckets, nchain = self._numbers(at, 2, self._words)
            start = at + 2 * self._words
            self._sysv = (nbuckets, nchain, start, start + self._words * nbuckets)

    def _numbers(self, at: int, count: int, width: int = 4) -> tuple[int, ...]:
        letter = "Q" if width == 8 else "I"
        try:
            return struct.unpack_from(f"{self._order}{count}{letter}", self.data, at)
        except struct.error:
            return (0,) * count  # behind the end of the file there is nothing

    def symbol(self, index: int) -> Symbol:
        """Entry *index*; the name is an offset into the string table."""
        row = self._symbol.unpack_from(self.data, self.symtab + self._entry * index)
        if self._word == 4:
            name, value, size, info, other, section = row
            return Symbol(name, info, other, section, value, size)
        return Symbol._make(row)

    def name(self, index: int) -> bytes:
        """The name of entry *index*."""
        return self.file.string_bytes(self.symbol(index).name, "st_name")

    def _same(self, index: int, name: bytes) -> bool:
        (offset,) = self._numbers(self.symtab + self._entry * index, 1)
        at = self.strtab + offset
        return bytes(self.data[at : at + len(name) + 1]) == name + b"\0"

    def _named_gnu(self, name: bytes, h: int) -> list[int]:
        assert self._gnu is not None
        nbuckets, first, nbloom, shift, bloom, buckets, chains = self._gnu
        bits = 8 * self._word
        (word,) = self._numbers(bloom + self._word * (h // bits & nbloom - 1), 1, self._word)
        if not (word >> (h % bits) & word >> ((h >> shift) % bits)) & 1 or not nbuckets:
            return []
        (index,) = self._numbers(buckets + 4 * (h % nbuckets), 1)
        found: list[int] = []
        while index >= first and chains + 4 * (index - first) + 4 <= len(self.data):
            (other,) = self._numbers(chains + 4 * (index - first), 1)
            if (other ^ h) >> 1 == 0 and self._same(index, name):
                found.append(index)
            if other & 1:
                break
            index += 1
        return found

    def _named_sysv(self, name: bytes) -> list[int]:
        assert self._sysv is not None
        nbuckets, nchain, buckets, chains = self._sysv
        width = self._words
        if not nbuckets:
            return []
        h = 0
        for c in name:
            h = (h << 4) + c
            h = (h ^ (h >> 24 & 0xF0)) & 0x0FFFFFFF
        (index,) = self._numbers(buckets + width * (h % nbuckets), 1, width)
        found: list[int] = []
        steps = 0
        while index and index < nchain and steps <= nchain:
            if self._same(index, name):
                found.append(index)
            (index,) = self._numbers(chains + width * index, 1, width)
            steps += 1
        return found

    def version(self, index: int) -> int:
        """The DT_VERSYM entry of a symbol; -1 when the file has no versions."""
        if self.versym < 0:
            return -1
        data = self.data[self.versym + 2 * index : self.versym + 2 * index + 2]
        return int.from_bytes(data, "little" if self._order == "<" else "big")


def dynsym(file: ElfFile) -> Dynsym:
    """The file's ``Dynsym``, made once."""
    found = file.cache.get("dynsym")
    if found is None:
        usual = file.bits == 64 and file.order == "<"
        found = file.cache["dynsym"] = Dynsym(file) if usual else AnyDynsym(file)
    return found  # type: ignore[return-value]

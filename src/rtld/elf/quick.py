"""Binding and relocating a small library beside modules that are loaded already, in plain Python, in place.

For a library with a hundred references the column passes take longer to begin than this takes to end. The rules are those of
``lookup.py`` for glibc. Whatever is out of the ordinary makes it ``GiveUp`` before anything was stored, and the column passes
do the work: they also find the words for what is wrong. ``tests/dlfcn/test_quick.py`` proves both equal.
"""

from __future__ import annotations

import struct

from rtld.elf import types as t
from rtld.elf.load import has_text_relocations, is_symbolic
from rtld.elf.scalar import gnu_hash
from rtld.elf.small import GiveUp
from rtld.elf.verneed import defined_versions, needed_versions, version_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile

    Answers = dict[tuple[Module, int, bool], tuple[Module, int] | None]

MOST = 220  # symbolic relocations; above, the columns are quicker
_MOST_RELATIVE = 4000

_RELA = struct.Struct("<QQq")
_SYM = struct.Struct("<IBBHQQ")
_MASK = (1 << 64) - 1
_NONE, _SYMBOLIC, _GLOB_DAT, _JUMP_SLOT, _RELATIVE, _IRELATIVE = 0, 1, 6, 7, 8, 37
_KNOWN = frozenset((_NONE, _SYMBOLIC, _GLOB_DAT, _JUMP_SLOT, _RELATIVE, _IRELATIVE))
_DEFINES = frozenset(
    (t.STT_NOTYPE, t.STT_OBJECT, t.STT_FUNC, t.STT_COMMON, t.STT_TLS, t.STT_GNU_IFUNC)
)
_STRANGE = (t.DT_REL, t.DT_RELR, t.DT_ANDROID_REL, t.DT_ANDROID_RELA, t.DT_ANDROID_RELR)


class Table:
    """A file's symbols, hash table and versions as views that are quick to index. Made once for each file."""

    __slots__ = ("bloom", "bloom_mask", "buckets", "chains", "data", "defined", "first", "nbuckets", "needs", "shift",
                 "strtab", "symtab", "symtab_end", "versions", "versym")  # fmt: skip

    def __init__(self, file: ElfFile) -> None:
        dynamic, data = file.dynamic, file.data
        if dynamic is None or t.DT_GNU_HASH not in dynamic or t.DT_SYMTAB not in dynamic:
            raise GiveUp
        self.data = data
        at = file.file_offset(dynamic[t.DT_GNU_HASH], 16, "DT_GNU_HASH")
        end = file.load_end(at)
        self.nbuckets, self.first, count, self.shift = struct.unpack_from("<4I", data, at)
        bloom_end = at + 16 + 8 * count
        buckets_end = bloom_end + 4 * self.nbuckets
        if buckets_end > end or not count or count & (count - 1) or not self.nbuckets:
            raise GiveUp
        self.bloom_mask = count - 1
        self.bloom = data[at + 16 : bloom_end].cast("Q")
        self.buckets = data[bloom_end:buckets_end].cast("I")
        self.chains = data[buckets_end : buckets_end + (end - buckets_end) // 4 * 4].cast("I")
        self.symtab = file.file_offset(dynamic[t.DT_SYMTAB], 24, "DT_SYMTAB")
        self.symtab_end = file.load_end(self.symtab)
        self.strtab = file.strings()[0]
        self.versym: Any = None
        if t.DT_VERSYM in dynamic:
            begin = file.file_offset(dynamic[t.DT_VERSYM], 2, "DT_VERSYM")
            self.versym = data[begin : begin + (file.load_end(begin) - begin) // 2 * 2].cast("H")
        self.needs = needed_versions(file)
        defined = defined_versions(file)
        self.defined = frozenset(d.name for d in defined)
        self.versions = version_table(self.needs, defined)

    def find(self, name: bytes, h: int, version: bytes | None, hidden: bool, plt: bool) -> int:
        """The definition of a name that passed the Bloom filter, or 0 (lookup.py: _choose_in_module)."""
        index = self.buckets[h % self.nbuckets]
        if index < self.first:
            return 0
        data, chains, first, half = self.data, self.chains, self.first, h >> 1
        single, count = 0, 0
        while True:
            other = chains[index - first]
            if other >> 1 == half:
                entry = self.symtab + 24 * index
                offset, info, st_other, section, value, _size = _SYM.unpack_from(data, entry)
                at = self.strtab + offset
                stop = at + len(name)
                if data[at:stop] == name and not data[stop]:
                    taken = self._take(index, info, section, value, version, hidden, plt)
                    if taken == 2:
                        count += 1
                        single = single or index
                    elif taken:
                        return self._offered(index, info, st_other)
            if other & 1:
                break
            index += 1
        if count != 1:
            return 0
        _o, info, st_other, *_rest = _SYM.unpack_from(data, self.symtab + 24 * single)
        return self._offered(single, info, st_other)

    def _take(
        self,
        index: int,
        info: int,
        section: int,
        value: int,
        version: bytes | None,
        hidden: bool,
        plt: bool,
    ) -> int:
        """1: it is the one; 2: it is if there is no other; 0: it is not."""
        kind = info & 15
        if kind not in _DEFINES or (plt and section == t.SHN_UNDEF):
            return 0
        if not value and section != t.SHN_ABS and kind != t.STT_TLS:
            return 0
        if self.versym is None:
            return 1
        raw = self.versym[index]
        if version is None:
            if raw & 0x7FFF < 3:
                return 1
            return 0 if raw & 0x8000 else 2
        own = self.versions.get(raw & 0x7FFF)
        if own is None or own[0] is None:
            return 1 if not hidden and not raw & 0x8000 else 0
        return 1 if own[0] == version else 0

    @staticmethod
    def _offered(index: int, info: int, other: int) -> int:
        bind = info >> 4
        if bind == t.STB_GNU_UNIQUE:
            raise GiveUp
        return (
            index
            if bind in (t.STB_GLOBAL, t.STB_WEAK) and other & 3 in (t.STV_DEFAULT, t.STV_PROTECTED)
            else 0
        )


def table_of(file: ElfFile) -> Table:
    """The file's ``Table``."""
    found = file.cache.get("quick")
    if found is None:
        found = file.cache["quick"] = Table(file)
    return found  # type: ignore[return-value]


def _symbolic(file: ElfFile) -> int:
    """How many records may refer to a symbol."""
    dynamic = file.dynamic
    if dynamic is None:
        raise GiveUp
    size, plt_size = dynamic.get(t.DT_RELASZ, 0) or 0, dynamic.get(t.DT_PLTRELSZ, 0) or 0
    if size // 24 > _MOST_RELATIVE:
        raise GiveUp
    return max(size // 24 - (dynamic.get(t.DT_RELACOUNT, 0) or 0), 0) + plt_size // 24


class QuickLink:
    """The references of some new modules, answered in *scope*; ``store`` writes them."""

    def __init__(self, ns: Namespace, own: Sequence[Module], scope: Sequence[Module]) -> None:
        if ns.model != "glibc" or ns.dynamic_weak or ns.reporter.wants:
            raise GiveUp
        self.ns = ns
        self.own = own
        self.answers: Answers = {}
        self._rows: list[
            tuple[Module, list[tuple[int, int, int]], list[tuple[int, int, int, int]]]
        ] = []
        # Sizes first: nothing is read of what is too large.
        if sum([_symbolic(module.file) for module in own]) > MOST:
            raise GiveUp
        for module in own:
            self._read(module)
        self._scope = [
            (module, table_of(module.file)) for module in scope if module.file.dynamic is not None
        ]
        self._check_versions()
        for module, _relative, rows in self._rows:
            table = table_of(module.file)
            for _offset, kind, symbol, _addend in rows:
                key = module, symbol, kind == _JUMP_SLOT
                if key not in self.answers and symbol:
                    self.answers[key] = self._find(module, table, symbol, key[2])

    def _read(self, module: Module) -> None:
        """Split the records into relative and others."""
        file, dynamic = module.file, module.file.dynamic
        if (
            any(tag in dynamic for tag in _STRANGE)
            or is_symbolic(module)
            or has_text_relocations(module)
        ):
            raise GiveUp
        if file.segment(t.PT_TLS) is not None:
            raise GiveUp
        relative: list[Any] = []
        rows: list[Any] = []
        begin, size = dynamic.get(t.DT_RELA), dynamic.get(t.DT_RELASZ, 0) or 0
        plt, plt_size = dynamic.get(t.DT_JMPREL), dynamic.get(t.DT_PLTRELSZ, 0) or 0
        if begin is not None and plt is not None and begin <= plt < begin + size:
            size = plt - begin
        if begin is not None and size:
            at = file.file_offset(begin, size, "DT_RELA")
            count = min(24 * (dynamic.get(t.DT_RELACOUNT, 0) or 0), size)
            relative = list(_RELA.iter_unpack(file.data[at : at + count]))
            rows = [
                (o, i & 0xFFFFFFFF, i >> 32, a)
                for o, i, a in _RELA.iter_unpack(file.data[at + count : at + size - size % 24])
            ]
        if plt is not None and plt_size:
            at = file.file_offset(plt, plt_size, "DT_JMPREL")
            rows += [
                (o, i & 0xFFFFFFFF, i >> 32, a)
                for o, i, a in _RELA.iter_unpack(file.data[at : at + plt_size - plt_size % 24])
            ]
        if len(rows) > MOST or not _KNOWN.issuperset([row[1] for row in rows]):
            raise GiveUp
        self._rows.append((module, relative, rows))

    def _check_versions(self) -> None:
        """Every version that is needed must be defined by the module it names; the columns say it in words."""
        for module in self.own:
            for need in table_of(module.file).needs:
                provider = self.ns.by_name.get(need.file.decode("utf-8", "surrogateescape"))
                if provider is None or need.name not in table_of(provider.file).defined:
                    raise GiveUp

    def _find(
        self, module: Module, table: Table, symbol: int, plt: bool
    ) -> tuple[Module, int] | None:
        entry = table.symtab + 24 * symbol
        if entry + 24 > table.symtab_end:
            raise GiveUp
        offset, info, other, *_rest = _SYM.unpack_from(table.data, entry)
        if info >> 4 == t.STB_LOCAL or other & 3 in (t.STV_HIDDEN, t.STV_INTERNAL):
            return module, symbol
        if other & 3 == t.STV_PROTECTED:
            raise GiveUp
        name = module.file.string_bytes(offset, "st_name")
        version, hidden = None, False
        if table.versym is not None:
            version, hidden = table.versions.get(table.versym[symbol] & 0x7FFF, (None, False))
        h = gnu_hash(name)
        low, word = h & 63, h >> 6
        for definer, theirs in self._scope:
            bits = theirs.bloom[word & theirs.bloom_mask]
            if bits >> low & bits >> (h >> theirs.shift & 63) & 1:
                found = theirs.find(name, h, version, hidden, plt)
                if found:
                    return definer, found
        if info >> 4 != t.STB_WEAK:
            raise GiveUp
        return None

    # -- storing ----------------------------------------------------------------------------------

    def store(self, view: Callable[[Module], tuple[Any, int, int]]) -> list[tuple[int, int, int]]:
        """Write every word through *view*: memory, first and last p_vaddr in it.

        Returns (place, resolver, addend) of those that wait for an IFUNC's resolver. Places are checked before any is written.
        """
        ifuncs: list[tuple[int, int, int]] = []
        todo = []
        for module, relative, rows in self._rows:
            memory, low, high = view(module)
            high -= 8
            for offset, _info, _addend in relative:
                if not low <= offset <= high:
                    raise GiveUp
            for offset, kind, _symbol, _addend in rows:
                if kind and not low <= offset <= high:
                    raise GiveUp
            todo.append((module, relative, rows, memory, low))
        pack = struct.Struct("<Q").pack_into
        values: dict[tuple[Module, int, bool], tuple[int, bool]] = {}
        for module, relative, rows, memory, low in todo:
            base = module.base
            for offset, _info, addend in relative:
                pack(memory, offset - low, base + addend & _MASK)
            for offset, kind, symbol, addend in rows:
                if kind == _RELATIVE:
                    value = base + addend
                elif kind == _IRELATIVE:
                    value = base + addend
                    ifuncs.append((base + offset, value & _MASK, 0))
                elif kind:
                    key = module, symbol, kind == _JUMP_SLOT
                    found = values.get(key)
                    if found is None:
                        found = values[key] = self._value(module, symbol, self.answers.get(key))
                    extra = addend if kind == _SYMBOLIC else 0
                    value = found[0] + extra
                    if found[1]:
                        ifuncs.append((base + offset, found[0], extra))
                else:
                    continue
                pack(memory, offset - low, value & _MASK)
        return ifuncs

    def _value(
        self, module: Module, symbol: int, answer: tuple[Module, int] | None
    ) -> tuple[int, bool]:
        """(address of what a reference is bound to, whether a resolver has to be asked for it)."""
        if not symbol:
            return module.base, False
        if answer is None:
            return 0, False
        replaced = self.ns.overrides.get(answer)
        if replaced is not None:
            return replaced, False
        definer, index = answer
        table = table_of(definer.file)
        _n, info, _o, section, value, _s = _SYM.unpack_from(table.data, table.symtab + 24 * index)
        if section != t.SHN_ABS:
            value += definer.base
        return value, info & 15 == t.STT_GNU_IFUNC and section != t.SHN_UNDEF

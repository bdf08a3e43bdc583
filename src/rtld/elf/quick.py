"""Binding and relocating libraries beside modules that are mapped already, in place, by machine code.

For a library with a hundred references the column passes take longer to begin than this takes to end, and even for a closure
of thirty thousand it is quicker while nobody wants to know the bindings. The rules are those of ``lookup.py`` for glibc.
Whatever is out of the ordinary makes it ``GiveUp``, and the column passes do the work again from the beginning (all words are
absolute): they also find the words for what is wrong. ``tests/dlfcn/test_quick.py`` proves both equal.

The machine code is the kernel's (``arch/x86_64_bind.py``, with the same in C): here are its tables. It reads mapped memory where
that is readable and constant, copies of what it might itself overwrite (patchelf puts tables into a writable segment), and
every limit is taken from the file that was checked.
"""

from __future__ import annotations

import struct

from rtld.elf import types as t
from rtld.elf.initfini import sort_dfs
from rtld.elf.load import has_text_relocations, is_symbolic
from rtld.elf.small import GiveUp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile

    class Kernel(Protocol):
        """The machine code, and memory for its tables. *scratch* is used by one link at a time, and zero before and after."""

        scratch: Any
        scratch_at: int
        scopes: list[Any]

        def memory(self, data: bytes | int) -> tuple[Any, int]: ...
        def clear(self, size: int) -> None: ...
        def read(self, address: int, size: int) -> bytes: ...
        def bind(self, context: int) -> int: ...
        def versions(self, context: int) -> int: ...
        def relr(self, context: int) -> int: ...


LAZY_MOST = 220  # symbolic relocations; with more, functions that wait for their first call are worth the column passes

_SYM = struct.Struct("<IBBHQQ")
_VERNEED = struct.Struct("<HHIII")
_FOUR = struct.Struct("<4I")
_TABLE = struct.Struct("<17Q")
_CONTEXT = struct.Struct(
    "<15Q"
)  # at end own scope count answers low high rows rows_end seen used definer symbol reference
_VERSIONS = struct.Struct("<11Q")
_ROW = struct.Struct("<QIIQq")
_ANSWER = struct.Struct("<QII")
_WORD, _WORDS, _HALF = struct.Struct("<Q"), struct.Struct("<QQ"), struct.Struct("<I")
_MASK = (1 << 64) - 1
_READ_WRITE = t.PF_R | t.PF_W
_TPOFF64, _IRELATIVE = 18, 37
_ROWS = 64
_SETTLED = 64  # definers of unique symbols outside the scope
_FEW_VERSIONS, _ALL_VERSIONS = 128, 0x8000
_MOST_NEEDS = 4096
_UNDEFINED, _OWN, _FIRST = 1, 2, 3  # what the kernel's answers call a definer
_DONE, _GIVE_UP, _UNIQUE, _FULL, _OUTSIDE = 0, 1, 2, 3, 4
_STRANGE = (t.DT_REL, t.DT_ANDROID_REL, t.DT_ANDROID_RELA, t.DT_ANDROID_RELR)


class Table:
    """A mapped module's symbols, hash table and versions as the kernel reads them. Made once for each module."""

    __slots__ = (
        "address", "base", "block", "copies", "file", "keep", "kernel", "nsyms", "room", "rows", "versions",
    )  # fmt: skip

    def __init__(self, module: Module, ns: Namespace, kernel: Kernel, *, own: bool) -> None:
        self.file = file = module.file
        self.kernel = kernel
        self.copies: dict[int, int] = {}
        self.keep: list[Any] = []
        dynamic = file.dynamic
        if dynamic is None:
            raise GiveUp
        get = dynamic.get
        self.base = base = module.base
        hashes, symtab, strtab = get(t.DT_GNU_HASH), get(t.DT_SYMTAB), get(t.DT_STRTAB)
        if hashes is None or symtab is None or strtab is None:
            raise GiveUp
        nbuckets, first, count, shift = _FOUR.unpack_from(file.data, file.file_offset(hashes, 16))
        bloom, end = self.place(hashes, 16)
        bloom += 16
        buckets = bloom + 8 * count
        chains = buckets + 4 * nbuckets
        if chains > end or not count or count & (count - 1) or not nbuckets:
            raise GiveUp
        strsz = file.strings()[1]
        strings, _limit = self.place(strtab, strsz)
        symbols, limit = self.place(symtab, 24)
        # The string table follows in every file that a linker has made.
        nsyms = ((strings if symbols < strings < limit else limit) - symbols) // 24
        versym, indices = get(t.DT_VERSYM), 0
        if versym is not None:
            indices, limit = self.place(versym, 2)
            nsyms = min(nsyms, (limit - indices) // 2)
        last = min(nsyms, first + (end - chains) // 4)
        self.nsyms = nsyms
        self.versions = self.room = pairs = 0
        replaced = [(s, a) for (m, s), a in ns.overrides.items() if m is module] if not own else ()
        if replaced:
            words = [word for pair in replaced for word in pair]
            block, pairs = kernel.memory(struct.pack(f"<{len(words) + 1}Q", *words, 0))
            self.keep.append(block)
        if versym is not None:
            self.room = _FEW_VERSIONS
            self.rows, self.versions = kernel.memory(16 * _FEW_VERSIONS)
        self.block, self.address = kernel.memory(
            _TABLE.pack(
                base, symbols, nsyms, strings, strsz, bloom, count - 1, shift, buckets, nbuckets, chains - 4 * first & _MASK, first,
                last, indices, self.versions, self.room, pairs,
            )
        )  # fmt: skip
        verdef = get(t.DT_VERDEF)
        if versym is not None and verdef is not None:
            begin, end = self.place(verdef, 20)
            number = min(get(t.DT_VERDEFNUM) or 0, _ALL_VERSIONS)
            self._read((0, 0, 0, begin, end, number), 0)

    def place(self, vaddr: int, size: int) -> tuple[int, int]:
        """Where *size* bytes of the file may be read, and the end of what stands there."""
        last = vaddr + size
        for _type, flags, _offset, start, _paddr, filesz, _memsz, _align in self.file.loads:
            if start <= vaddr and last <= start + filesz:
                if flags & _READ_WRITE == t.PF_R:
                    bias = self.base
                elif flags & t.PF_R:
                    bias = self._copy(start) - start
                else:
                    raise GiveUp
                return bias + vaddr, bias + start + filesz
        raise GiveUp

    def _copy(self, vaddr: int) -> int:
        """Where the file's bytes of the writable segment at *vaddr* have been put, which nobody changes."""
        start = self.copies.get(vaddr, 0)
        if not start:
            load = next(load for load in self.file.loads if load.vaddr == vaddr and load.filesz)
            block, start = self.kernel.memory(bytes(self.file.contents(load)))
            self.keep.append(block)
            self.copies[vaddr] = start
        return start

    def _read(self, where: tuple[int, ...], providers: int) -> None:
        """Let the kernel fill in versions; with more room when an index asks for it."""
        file, kernel = self.file, self.kernel
        strings, strsz = _WORDS.unpack_from(self.block, 24)
        scratch = kernel.scratch_at
        while True:
            _VERSIONS.pack_into(
                kernel.scratch, 0, *where, strings, strsz, self.versions, self.room, providers
            )
            failed = kernel.versions(scratch)
            kernel.clear(_VERSIONS.size)
            if not failed:
                return
            if self.room == _ALL_VERSIONS or not _has_large_index(file):
                raise GiveUp
            block, self.versions = kernel.memory(16 * _ALL_VERSIONS)
            block[: 16 * self.room] = bytes(self.rows)
            self.rows, self.room = block, _ALL_VERSIONS
            _WORDS.pack_into(self.block, 112, self.versions, self.room)

    def need(self, ns: Namespace) -> None:
        """The versions that the file needs; each must be defined by the module it is expected in."""
        file = self.file
        dynamic = file.dynamic
        assert dynamic is not None
        verneed = dynamic.get(t.DT_VERNEED)
        if verneed is None:
            return
        if not self.versions:
            raise GiveUp
        begin, end = self.place(verneed, 16)
        number = dynamic.get(t.DT_VERNEEDNUM) or 0
        if number > _MOST_NEEDS:
            raise GiveUp
        at, step = file.file_offset(verneed, 16), 0
        limit = at + end - begin - 16
        providers = []
        for _ in range(number):
            at += step
            if at > limit:
                raise GiveUp
            version, _count, name, _first, step = _VERNEED.unpack_from(file.data, at)
            provider = ns.by_name.get(file.string(name, "vn_file"))
            if provider is None or version != 1:
                raise GiveUp
            providers.append(table_at(provider, ns, self.kernel))
        _kept, addresses = self.kernel.memory(struct.pack(f"<{number}Q", *providers))
        self._read((begin, end, number, 0, 0, 0), addresses)


def _has_large_index(file: ElfFile) -> bool:
    from rtld.elf.verneed import defined_versions, needed_versions

    indices = [row.index for row in defined_versions(file)]
    indices += [row.index for row in needed_versions(file)]
    return max(indices, default=0) >= _FEW_VERSIONS


def table_of(module: Module, ns: Namespace, kernel: Kernel, *, own: bool = False) -> Table:
    """The module's ``Table``."""
    cache = module.file.cache
    found = cache.get("quick")
    if found is None or found.base != module.base:
        found = cache["quick"] = Table(module, ns, kernel, own=own)
    return found  # type: ignore[no-any-return]


def table_at(module: Module, ns: Namespace, kernel: Kernel) -> int:
    """Where the module's table is."""
    if module.late is not None:
        return module.late.table  # type: ignore[no-any-return]
    return table_of(module, ns, kernel).address


def tables_of_scope(
    modules: tuple[Module, ...], ns: Namespace, kernel: Kernel
) -> tuple[list[Module], list[int]]:
    """The modules that have symbols, and their tables; remembered for the global scope of the last link."""
    known = kernel.scopes
    if known and known[0] is modules:
        return known[1], known[2]
    having = [module for module in modules if module.file.dynamic is not None]
    for module in having:
        if module.filters:
            raise GiveUp
    tables = [table_at(module, ns, kernel) for module in having]
    kernel.scopes[:] = modules, having, tables
    return having, tables


class QuickLink:
    """New modules bound and relocated in *scope*, by the kernel.

    used      module -> the modules that its references are bound to, first met first
    unique    definers of STB_GNU_UNIQUE symbols, with the name of one
    ifuncs    (place, resolver, addend) of what waits for an IFUNC's resolver
    tls       (place, type, module or None, value, addend, referrer) of what waits for the TLS numbers
    """

    def __init__(
        self,
        ns: Namespace,
        own: Sequence[Module],
        scope: Sequence[Module],
        kernel: Kernel,
        *,
        now: bool,
    ) -> None:
        if ns.model != "glibc" or ns.dynamic_weak or ns.reporter.wants:
            raise GiveUp
        self.ns = ns
        self.kernel = kernel
        self.used: dict[Module, list[Module]] = {}
        self.unique: dict[Module, str] = {}
        self.ifuncs: list[tuple[int, int, int]] = []
        self.tls: list[tuple[int, int, Module | None, int, int, Module]] = []
        ranges = [(module, *_ranges(module)) for module in own]
        if not now and sum([count for _module, _ranges, count in ranges]) > LAZY_MOST:
            raise GiveUp
        for module in own:
            if module.filters:
                raise GiveUp
            table_of(module, ns, kernel, own=True)
        everybody = ns.global_scope.modules
        if scope[: len(everybody)] == [*everybody]:
            having, tables = tables_of_scope(everybody, ns, kernel)
            rest = scope[len(everybody) :]
        else:
            having, tables, rest = [], [], list(scope)
        for module in rest:
            if module.filters:
                raise GiveUp
        self._scope = [*having, *rest]
        self._tables = [*tables, *[table_at(module, ns, kernel) for module in rest]]
        for module in own:
            table_of(module, ns, kernel).need(ns)
        if len(own) > 1:
            order = {module: i for i, module in enumerate(sort_dfs(list(own), force_first=False))}
            ranges.sort(key=lambda row: -order[row[0]])
        for module, pieces, _count in ranges:
            self._bind(module, pieces)
        # Last, since columns could not do it again: these words are added to.
        packed = [module for module, *_rest in ranges if t.DT_RELR in module.file.dynamic]
        for number, module in enumerate(packed):
            if not self._unpack(module):
                if number:
                    raise module.file.fail("DT_RELR", "place", "outside", "in a writable segment")
                raise GiveUp

    def _unpack(self, module: Module) -> bool:
        """DT_RELR, all of it or nothing."""
        kernel, dynamic = self.kernel, module.file.dynamic
        table = table_of(module, self.ns, kernel)
        size = (dynamic.get(t.DT_RELRSZ) or 0) & -8
        if not size:
            return True
        at, _limit = table.place(dynamic[t.DT_RELR], size)
        words = []
        for load in module.file.loads:
            if load.flags & t.PF_W and load.memsz >= 8:
                low = module.base + load.vaddr
                words += [low, low + load.memsz - 8]
        context = struct.pack(
            f"<{len(words) + 6}Q", module.base & _MASK, at, at + size, kernel.scratch_at + 32, *words, 0, 0
        )  # fmt: skip
        kernel.scratch[: len(context)] = context
        failed = kernel.relr(kernel.scratch_at)
        kernel.clear(len(context))
        return not failed

    def _bind(self, module: Module, pieces: Sequence[tuple[int, int]]) -> None:
        kernel = self.kernel
        table = table_of(module, self.ns, kernel)
        definers = [module, *self._scope]
        tables = self._tables
        if is_symbolic(module):
            definers.insert(0, module)
            tables = [table.address, *tables]
        count = len(tables)
        # The scratch memory: context, rows, the scope, who has been met, in which order, and what symbols are bound to.
        scratch, start = kernel.scratch, kernel.scratch_at
        room = count + _FIRST + _SETTLED
        rows = _CONTEXT.size
        array = rows + _ROW.size * _ROWS
        used = array + 8 * count
        seen = used + 4 * room
        answers = seen + room + 15 & -16
        size = answers + 32 * table.nsyms
        base = 0
        if size <= len(scratch):
            where, at_answers = scratch, start + answers
        else:
            if answers > len(scratch):
                raise GiveUp
            where, at_answers = kernel.memory(32 * table.nsyms)
            base, size = -answers, answers
        struct.pack_into(f"<{count}Q", scratch, array, *tables)
        _CONTEXT.pack_into(
            scratch, 0, 0, 0, table.address, start + array, count, at_answers, *_writable(module), start + rows, start + array,
            start + seen, start + used, 0, 0, 0,
        )  # fmt: skip
        try:
            for begin, end in pieces:
                at, _limit = table.place(begin, end - begin)
                _WORDS.pack_into(scratch, 0, at, at + end - begin)
                while True:
                    status = kernel.bind(start)
                    state = _CONTEXT.unpack_from(scratch)
                    if state[8] != start + rows:
                        self._later(module, definers, scratch[rows : state[8] - start])
                        _WORD.pack_into(scratch, 64, start + rows)
                    if status == _DONE:
                        break
                    if status == _UNIQUE:
                        code, answer = self._settle(module, definers, state)
                        if code >= room:
                            raise GiveUp
                        _ANSWER.pack_into(where, base + answers + 16 * state[14], *answer)
                        if scratch[seen + code] == b"\0":
                            scratch[seen + code] = b"\1"
                            _HALF.pack_into(scratch, state[11] - start, code)
                            _WORD.pack_into(scratch, 88, state[11] + 4)
                    elif status == _OUTSIDE:
                        place = module.base + _WORD.unpack(kernel.read(state[0], 8))[0] & _MASK
                        _WORDS.pack_into(scratch, 48, *_writable(module, place))
                    elif status != _FULL:
                        raise GiveUp
            number = (_CONTEXT.unpack_from(scratch)[11] - start - used) // 4
            codes = struct.unpack_from(f"<{number}I", scratch, used)
        finally:
            kernel.clear(size)
        self.used[module] = list(dict.fromkeys([definers[code - _OWN] for code in codes]))

    def _later(self, module: Module, definers: list[Module], rows: bytes) -> None:
        """What the kernel leaves to others."""
        for place, kind, code, value, addend in _ROW.iter_unpack(rows):
            if kind == _IRELATIVE:
                self.ifuncs.append((place, value, addend))
            else:
                definer = None if code == _UNDEFINED else definers[code - _OWN]
                self.tls.append((place, kind, definer, value, addend, module))

    def _settle(
        self, module: Module, definers: list[Module], state: tuple[int, ...]
    ) -> tuple[int, tuple[int, int, int]]:
        """STB_GNU_UNIQUE: one definition of a name, that which was used first. What the definer is called, the answer."""
        code, symbol, reference = state[12:]
        offset, *_rest = _symbol(module, reference >> 1)
        name = module.file.string(offset, "st_name")
        definer = definers[code - _OWN]
        known = self.ns.unique.setdefault(name, (definer, symbol))
        if known[0] is not definer:
            definer = known[0]
            if definer not in definers:
                definers.append(definer)
            code = definers.index(definer) + _OWN
        symbol = known[1]
        self.unique.setdefault(definer, name)
        _offset, info, _other, section, value, _size = _symbol(definer, symbol)
        if info & 15 != t.STT_TLS and section != t.SHN_ABS:
            value += definer.base
        return code, (value & _MASK, code, symbol)

    def static_tls(self) -> set[Module]:
        """Modules whose thread-local storage somebody reaches from the thread pointer alone (initial-exec)."""
        return {row[2] or row[5] for row in self.tls if row[1] == _TPOFF64}


def _symbol(module: Module, index: int) -> tuple[int, int, int, int, int, int]:
    file = module.file
    at = file.file_offset(file.dynamic[t.DT_SYMTAB] + 24 * index, 24, "DT_SYMTAB")
    return _SYM.unpack_from(file.data, at)


def _writable(module: Module, place: int | None = None) -> tuple[int, int]:
    """First and last address that a word may be stored at, of the writable segment with *place*; of the first, if there is one."""
    for load in module.file.loads:
        if load.flags & t.PF_W:
            low = module.base + load.vaddr
            high = low + load.memsz - 8
            if place is None or low <= place <= high:
                return low, max(high, 0)
    if place is None:
        return 1, 0
    raise GiveUp


def _ranges(module: Module) -> tuple[list[tuple[int, int]], int]:
    """Where the relocation records are, as p_vaddr, in the order they count; and how many may refer to a symbol."""
    dynamic = module.file.dynamic
    if dynamic is None or has_text_relocations(module):
        raise GiveUp
    get = dynamic.get
    for tag in _STRANGE:
        if tag in dynamic:
            raise GiveUp
    rela, size = get(t.DT_RELA), get(t.DT_RELASZ) or 0
    plt, plt_size = get(t.DT_JMPREL), get(t.DT_PLTRELSZ) or 0
    if plt is None:
        plt_size = 0
    elif rela is not None and rela <= plt < rela + size:
        size = plt - rela
    pieces = []
    if rela is not None and size:
        pieces.append((rela, rela + size - size % 24))
    if plt_size:
        pieces.append((plt, plt + plt_size - plt_size % 24))
    return pieces, size // 24 - (get(t.DT_RELACOUNT) or 0) + plt_size // 24

"""Symbol look-up: a hash join of all references with all definitions of a scope, and the same rules for one name.

The rules are those of glibc 2.36 (elf/dl-lookup.c: check_match, do_lookup_x) and musl 1.2 (ldso/dynlink.c: find_sym2).
``Columns`` holds what is gathered of every module; ``join`` finds for each wanted name the definitions of that name in
scope order; ``first_accepted`` walks them by the model's rules. ``lookup`` does it for a single name and can tell why.
"""

from __future__ import annotations

from array import array

import numpy as np

from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.elf.hash import Names, Strings
from rtld.elf.tables import tables
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.core.module import Module
    from rtld.elf.flat import I64, U32, U64, Bool
    from rtld.elf.groups import Groups
    from rtld.elf.lookup_models import Accept

DATA, PLT, COPY = 0, 1, 2  # glibc's ELF_RTYPE_CLASS_*, as far as look-up differs

_TYPES = (
    1 << t.STT_NOTYPE
    | 1 << t.STT_OBJECT
    | 1 << t.STT_FUNC
    | 1 << t.STT_COMMON
    | 1 << t.STT_TLS
    | 1 << t.STT_GNU_IFUNC
)


class Columns:
    """What look-up needs of every module of a namespace, one row a module: positions, limits, version names."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self.modules: list[Module] = []
        self.order = modules[0].file.order
        self.wide = modules[0].file.bits == 64
        self.machine = modules[0].file.machine
        self.syment = 24 if self.wide else 16
        self._meta_at = 4 if self.wide else 12
        self._value_at = 8 if self.wide else 4
        self._version_ids: dict[bytes, int] = {}
        self.version_names: list[bytes | None] = [None]
        self._rows: list[tuple[int, ...]] = []
        # One number for each version index of each module: the name's id, and bit 32 for a hidden one.
        self._versions = array("q")
        self.extend(modules)

    def extend(self, modules: Sequence[Module]) -> None:
        """Add modules (those of a later dlopen); indices of earlier ones stay."""
        ids = self._version_ids
        for module in modules:
            table = tables(module.file)
            first = len(self._versions)
            count = max(table.versions, default=-1) + 1
            self._versions.frombytes(bytes(8 * count))
            for index, (name, hidden) in table.versions.items():
                number = ids.get(name, 0)
                if not number:
                    number = ids[name] = len(self.version_names)
                    self.version_names.append(name)
                self._versions[first + index] = number | (hidden << 32)
            self._rows.append(
                (
                    table.symtab,
                    table.symtab_limit,
                    table.strtab,
                    table.strsz,
                    table.versym,
                    table.versym_limit,
                    first,
                    count,
                )
            )
            self.modules.append(module)
        rows = np.array(self._rows, np.int64).reshape(-1, 8).T
        self.symtab, self.symtab_limit, self.strtab, self.strsz = rows[0], rows[1], rows[2], rows[3]
        self.versym, self.versym_limit, self.version_first, self.version_count = (
            rows[4],
            rows[5],
            rows[6],
            rows[7],
        )
        versions: I64 = np.concatenate(
            [np.frombuffer(self._versions, np.int64), np.zeros(1, np.int64)]
        )
        self.version_id = versions & 0xFFFFFFFF
        self.version_hidden: Bool = versions > 0xFFFFFFFF
        self._strings: Strings | None = None

    @property
    def strings(self) -> Strings:
        """The ends of all strings of all modules."""
        if self._strings is None:
            self._strings = Strings(zip(self.strtab.tolist(), self.strsz.tolist(), strict=True))
        return self._strings

    def names(self, positions: I64) -> Names:
        """The names at ``positions``, hashed."""
        return Names(positions, lambda: self.strings)

    # -- gathers ----------------------------------------------------------------------------------

    def symbol_position(self, module: I64, symbol: I64) -> I64:
        """Positions of symbol table entries; FormatError for one that cannot be in its file."""
        bad = np.flatnonzero(symbol >= self.symtab_limit[module])
        if len(bad):
            where = self.modules[int(module[bad[0]])]
            limit = int(self.symtab_limit[module[bad[0]]])
            raise FormatError(
                where.path, "relocation", "symbol index", int(symbol[bad[0]]), f"less than {limit}"
            )
        at: I64 = self.symtab[module] + symbol * self.syment
        return at

    def name_position(self, module: I64, at: I64) -> I64:
        """Positions of the names of symbols at ``at``."""
        name = flat(self.order + "u4")[at].astype(np.int64)
        bad = np.flatnonzero(name >= self.strsz[module])
        if len(bad):
            where = self.modules[int(module[bad[0]])]
            limit = int(self.strsz[module[bad[0]]])
            raise FormatError(
                where.path, "symbol", "st_name", int(name[bad[0]]), f"less than DT_STRSZ {limit:#x}"
            )
        found: I64 = self.strtab[module] + name
        return found

    def meta(self, at: I64) -> tuple[U32, U32, U32]:
        """(st_info, st_other, st_shndx) of the symbols at positions ``at``."""
        return self.split_meta(self.meta_word(at))

    def meta_word(self, at: I64) -> U32:
        """st_info, st_other and st_shndx of the symbols at positions ``at`` as one word, lowest byte first."""
        return flat("<u4")[at + self._meta_at]  # type: ignore[no-any-return]

    def split_meta(self, word: U32) -> tuple[U32, U32, U32]:
        """(st_info, st_other, st_shndx) of such words."""
        section = word >> np.uint32(16)
        if self.order == ">":
            section = (section >> np.uint32(8)) | ((section & np.uint32(0xFF)) << np.uint32(8))
        return word & np.uint32(0xFF), (word >> np.uint32(8)) & np.uint32(0xFF), section

    def value(self, at: I64) -> U64:
        """st_value."""
        if self.wide:
            return flat(self.order + "u8")[at + 8]  # type: ignore[no-any-return]
        return flat(self.order + "u4")[at + 4].astype(np.uint64)  # type: ignore[no-any-return]

    def size(self, at: I64) -> U64:
        """st_size."""
        if self.wide:
            return flat(self.order + "u8")[at + 16]  # type: ignore[no-any-return]
        return flat(self.order + "u4")[at + 8].astype(np.uint64)  # type: ignore[no-any-return]

    def versions(self, module: I64, symbol: I64) -> tuple[I64, I64, Bool]:
        """(raw versym entry or -1 without a table, id of the version's name or 0, its hidden flag)."""
        raw = np.full(len(module), -1, np.int64)
        has = np.flatnonzero(self.versym[module] >= 0)
        if len(has):
            m, s = (module, symbol) if len(has) == len(module) else (module[has], symbol[has])
            s = np.minimum(s, self.versym_limit[m] - 1)
            raw[has] = flat(self.order + "u2")[self.versym[m] + 2 * s]
        index = raw & 0x7FFF
        inside = (raw >= 0) & (index < self.version_count[module])
        row = np.where(inside, self.version_first[module] + index, len(self.version_id) - 1)
        return raw, self.version_id[row], self.version_hidden[row]

    def version_number(self, name: bytes) -> int:
        """The id of a version's name; -1 when no module of the namespace knows it."""
        return self._version_ids.get(name, -1)


class Candidates:
    """For each group of equal names its definitions in scope order: CSR of (module, symbol), with their attributes."""

    __slots__ = (
        "first", "info", "module", "other", "raw", "section", "symbol", "usable", "version",
    )  # fmt: skip

    first: I64  # [groups + 1]
    module: I64
    symbol: I64
    info: U32
    other: U32
    section: U32
    raw: I64
    version: I64
    usable: Bool  # type and value are those of a definition (or canonical PLT entry)


def hashed_names(columns: Columns, order: Sequence[int]) -> tuple[U32, I64, I64, I64]:
    """GNU hashes (low bit unreliable) of all symbols that modules ``order`` offer, concatenated in that order.

    Returns (hashes, start of each module's run, its first symbol's index, module numbers).
    """
    parts: list[U32] = []
    starts, firsts, numbers = [], [], []
    total = 0
    dtype = np.dtype(columns.order + "u4")
    for number in order:
        module = columns.modules[number]
        table = tables(module.file)
        if table.hash_style == "gnu":
            first = table.first_hashed
            part = np.frombuffer(
                module.file.data, dtype, table.chains_count, table.chains - table.base
            )
        elif table.hash_style == "sysv" and table.nsyms > 1:
            first = 1
            part = _computed_hashes(columns, number, table.nsyms)
        else:
            continue
        if len(part):
            parts.append(part)
            starts.append(total)
            firsts.append(first)
            numbers.append(number)
            total += len(part)
    hashes = np.concatenate(parts) if parts else np.empty(0, np.uint32)
    if columns.order == ">":
        hashes = hashes.astype(np.uint32)
    return (
        hashes,
        np.array(starts, np.int64),
        np.array(firsts, np.int64),
        np.array(numbers, np.int64),
    )


def _computed_hashes(columns: Columns, number: int, nsyms: int) -> U32:
    symbol = np.arange(1, nsyms)
    module = np.full(nsyms - 1, number, np.int64)
    at = columns.symbol_position(module, symbol)
    return columns.names(columns.name_position(module, at)).hash.astype(np.uint32)


def join(columns: Columns, order: Sequence[int], groups: Groups) -> Candidates:
    """All definitions in modules ``order`` of the groups' names. Group g's candidates are in scope order."""
    hashes, starts, firsts, numbers = hashed_names(columns, order)
    survivors = _survivors(hashes, groups.names.hash)
    run = _runs(starts, len(hashes), survivors)
    module = numbers[run]
    symbol = firsts[run] + survivors - starts[run]
    mine = hashes[survivors]
    try:
        at = columns.symbol_position(module, symbol)
        position = columns.name_position(module, at)
    except FormatError:
        # Broken entries are none of our business unless their hash is one that is looked for.
        exact = np.flatnonzero(_contains(groups.names.hash, mine))
        mine, module, symbol = mine[exact], module[exact], symbol[exact]
        at = columns.symbol_position(module, symbol)
        position = columns.name_position(module, at)
    row, group = groups.find(position, mine)
    # What is gathered of each definition is gathered in the order in which it lies in memory.
    module, symbol, at = module[row], symbol[row], at[row]
    del hashes, survivors, run, mine, position
    word = columns.meta_word(at)
    value = columns.value(at)
    raw, version, _ = columns.versions(module, symbol)
    key = np.sort((group.astype(np.uint64) << np.uint64(32)) | np.arange(len(row), dtype=np.uint64))
    order_of = (key & np.uint64(0xFFFFFFFF)).astype(np.int64)
    del key, row, at
    result = Candidates()
    result.first = np.zeros(groups.count + 1, np.int64)
    np.cumsum(np.bincount(group, minlength=groups.count), out=result.first[1:])
    result.module, result.symbol = module[order_of], symbol[order_of]
    result.info, result.other, result.section = columns.split_meta(word[order_of])
    result.raw, result.version = raw[order_of], version[order_of]
    result.usable = _usable(columns, result, value[order_of])
    return result


def _survivors(hashes: U32, wanted: U64) -> I64:
    """Indices of the hashes that may be among *wanted*, low bits aside: all of those, and few others."""
    # A table of some thirty bits for each wanted hash lets few others through, and stays in the cache.
    bits = min(max(len(wanted).bit_length() + 5, 10), 22)
    mask = np.uint32((1 << bits) - 1)
    bitmap = np.zeros(1 << bits, np.bool_)
    bitmap[(wanted >> np.uint64(1)).astype(np.uint32) & mask] = True
    return np.flatnonzero(bitmap[(hashes >> np.uint32(1)) & mask])


def _contains(wanted: U64, hashes: U32) -> Bool:
    """Which of the hashes are among *wanted*, low bits aside."""
    ours = np.sort(wanted >> np.uint64(1)).astype(np.uint32)
    theirs = hashes >> np.uint32(1)
    result: Bool = ours[np.minimum(np.searchsorted(ours, theirs), len(ours) - 1)] == theirs
    return result


def _runs(starts: I64, total: int, index: I64) -> I64:
    """Which of the runs that begin at ``starts`` each index lies in."""
    run = np.zeros(total, np.int32)
    run[starts[1:]] = 1
    return np.cumsum(run, dtype=np.int32)[index].astype(np.int64)


def _usable(columns: Columns, c: Candidates, value: U64) -> Bool:
    kind = c.info & np.uint32(15)
    typed = ((np.uint32(_TYPES) >> kind) & np.uint32(1)) != 0
    if columns.machine == t.EM_MIPS:
        # An undefined function's value is its lazy stub, unless STO_MIPS_PLT says that it is a PLT entry.
        typed &= (c.section != t.SHN_UNDEF) | ((c.other & np.uint32(8)) != 0)
    valued = (value != 0) | (c.section == t.SHN_ABS) | (kind == t.STT_TLS)
    usable: Bool = typed & valued
    return usable


class Wanted:
    """References to look up, one row each: who asks, group of the name, class, version and its hidden flag."""

    __slots__ = ("group", "kind", "module", "symbolic", "version", "version_hidden")

    module: I64
    group: I64
    kind: I64  # DATA, PLT, COPY
    version: I64  # id, 0 for none
    version_hidden: Bool
    symbolic: Bool  # the module's own definitions come first


class Rules:
    """Whose rules, and what they depend on besides the symbols."""

    __slots__ = ("accepts", "dynamic_weak", "main", "model")

    def __init__(self, model: str, main: int, dynamic_weak: bool = False) -> None:
        self.model = model
        self.main = main  # number of the program's module, which COPY look-ups pass over; -1: none
        self.dynamic_weak = dynamic_weak  # LD_DYNAMIC_WEAK is set
        self.accepts: Accept | None = None  # the rule of another model (lookup_models.py)


def first_accepted(c: Candidates, w: Wanted, rules: Rules) -> I64:
    """For each wanted reference the index of the candidate it binds to, or -1."""
    result = np.full(len(w.group), -1, np.int64)
    own = np.flatnonzero(w.symbolic)
    if len(own):
        result[own] = _walk(c, w, own, rules, own_only=True)
    rest = np.flatnonzero(result < 0)
    # A batch at a time: the columns of a million references, each gathered anew, would be most of the memory of a link.
    for begin in range(0, len(rest), _BATCH):
        rows = rest[begin : begin + _BATCH]
        result[rows] = _walk(c, w, rows, rules, own_only=False)
    return result


_BATCH = 1 << 16


def _walk(c: Candidates, w: Wanted, rows: I64, rules: Rules, own_only: bool) -> I64:
    result = np.full(len(rows), -1, np.int64)
    weak = np.full(len(rows), -1, np.int64)
    accepts = rules.accepts or (_accept_musl if rules.model == "musl" else _accept_glibc)
    at = c.first[w.group[rows]]
    end = c.first[w.group[rows] + 1]
    live = np.flatnonzero(at < end)
    at, end = at[live], end[live]
    while len(live):
        row = rows[live]
        accept, slow = accepts(c, w, row, at, rules.main)
        if own_only:
            foreign = c.module[at] != w.module[row]
            accept &= ~foreign
            slow &= ~foreign
        for i in np.flatnonzero(slow & ~accept).tolist():
            # A module that offers the name only in ways that need a second look: decide it whole, then go on behind it.
            stop = int(at[i])
            while stop < end[i] and c.module[stop] == c.module[at[i]]:
                stop += 1
            chosen = _choose_in_module(c, w, int(row[i]), int(at[i]), stop)
            if chosen >= 0:
                at[i] = chosen
                accept[i] = True
            else:
                at[i] = stop - 1
        if rules.dynamic_weak:
            # LD_DYNAMIC_WEAK: a weak definition only counts when no module has a strong one.
            bind = c.info[at] >> np.uint32(4)
            feeble = accept & ((bind == t.STB_WEAK) | (bind == t.STB_LOCAL))
            first = feeble & (weak[live] < 0)
            weak[live[first]] = at[first]
            accept &= ~feeble
        result[live[accept]] = at[accept]
        go = np.flatnonzero(~accept & (at + 1 < end))
        live, at, end = live[go], at[go] + 1, end[go]
    return np.where(result < 0, weak, result)


def _accept_glibc(c: Candidates, w: Wanted, row: I64, at: I64, main: int) -> tuple[Bool, Bool]:
    """(taken at once, needs a second look) for reference ``row`` and candidate ``at``."""
    info, other, raw = c.info[at], c.other[at], c.raw[at]
    kind = w.kind[row]
    match = c.usable[at] & ~((kind == PLT) & (c.section[at] == t.SHN_UNDEF))
    match &= ~((kind == COPY) & (c.module[at] == main))
    version = w.version[row]
    low = raw & 0x7FFF
    unversioned = raw < 0
    fits = unversioned | (c.version[at] == version)
    fits |= ~w.version_hidden[row] & (c.version[at] == 0) & (raw & 0x8000 == 0)
    wants = version != 0
    taken = match & np.where(wants, fits, unversioned | (low < 3))
    bind = info >> np.uint32(4)
    visible = ((other & np.uint32(3)) == t.STV_DEFAULT) | (
        (other & np.uint32(3)) == t.STV_PROTECTED
    )
    good = visible & ((bind == t.STB_GLOBAL) | (bind == t.STB_WEAK) | (bind == t.STB_GNU_UNIQUE))
    slow = (taken & ~good) | (match & ~wants & ~unversioned & (low >= 3) & (raw & 0x8000 == 0))
    return taken & good, slow


def _choose_in_module(c: Candidates, w: Wanted, row: int, begin: int, end: int) -> int:
    """glibc's decision within one module's candidates [begin, end): -1 when the module has nothing for the reference."""
    version, hidden_ok = int(w.version[row]), not bool(w.version_hidden[row])
    versioned, count, chosen = -1, 0, -1
    for i in range(begin, end):
        if not c.usable[i] or (w.kind[row] == PLT and c.section[i] == t.SHN_UNDEF):
            continue
        raw = int(c.raw[i])
        if version:
            if (
                raw >= 0
                and c.version[i] != version
                and not (hidden_ok and c.version[i] == 0 and not raw & 0x8000)
            ):
                continue
        elif raw >= 0 and raw & 0x7FFF >= 3:
            # "If we have seen exactly one versioned symbol while we are looking for an unversioned symbol": that one.
            if not raw & 0x8000:
                count += 1
                versioned = i if count == 1 else versioned
            continue
        chosen = i
        break
    if chosen < 0 and count == 1:
        chosen = versioned
    if chosen < 0:
        return -1
    visible = int(c.other[chosen]) & 3 in (t.STV_DEFAULT, t.STV_PROTECTED)
    bind = int(c.info[chosen]) >> 4
    return chosen if visible and bind in (t.STB_GLOBAL, t.STB_WEAK, t.STB_GNU_UNIQUE) else -1


def _accept_musl(c: Candidates, w: Wanted, row: I64, at: I64, main: int) -> tuple[Bool, Bool]:
    kind = w.kind[row]
    info = c.info[at]
    stt, bind = info & np.uint32(15), info >> np.uint32(4)
    undefined = c.section[at] == t.SHN_UNDEF
    # musl has no rule for SHN_ABS: a zero value is no definition unless it is TLS.
    match = (
        c.usable[at]
        & ~(undefined & ((kind == PLT) | (stt == t.STT_TLS)))
        & (stt != t.STT_GNU_IFUNC)
    )
    match &= ~((kind == COPY) & (c.module[at] == main))
    match &= (c.raw[at] < 0) | (c.raw[at] & 0x8000 == 0)
    match &= (bind == t.STB_GLOBAL) | (bind == t.STB_WEAK) | (bind == t.STB_GNU_UNIQUE)
    return match, np.zeros(len(at), np.bool_)

"""What the image offers: the dynamic symbols of all its modules as one table, first definition in scope order first.

Kept are the first definition of each (name, version); a later default version of a name gets the hidden bit, or a look-up
without a version would find two. Left out is what libc, standing earlier in the scope, defines too. Names are not copied
one by one: the string tables of all modules stand one after the other.
"""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t
from rtld.elf.groups import group_names
from rtld.elf.hash import sysv_hash
from rtld.elf.lookup import _TYPES, join
from rtld.elf.tables import tables
from rtld.frozen.gnuhash import gnu_hash_table
from rtld.frozen.imports import aliases, distinct, trampoline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtld.elf.flat import I64, U64, Bool
    from rtld.elf.groups import Groups
    from rtld.elf.lookup import Columns
    from rtld.frozen.plan import Plan

    Symbols = NDArray[np.void]

SYMBOL = np.dtype(
    [("st_name", "<u4"), ("st_info", "u1"), ("st_other", "u1"), ("st_shndx", "<u2"), ("st_value", "<u8"), ("st_size", "<u8")]
)  # fmt: skip
_GLOBAL = t.STB_GLOBAL << 4


class Strings:
    """DT_STRTAB: whole tables of modules, then single strings."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = [b"\0"]
        self.size = 1
        self._known: dict[bytes, int] = {b"": 0}

    def table(self, data: memoryview) -> int:
        """Add a whole string table; returns where it begins."""
        at = self.size
        self.parts.append(data)
        self.size += len(data)
        return at

    def add(self, text: bytes) -> int:
        at = self._known.get(text)
        if at is None:
            at = self._known[text] = self.size
            self.parts.append(text + b"\0")
            self.size += len(text) + 1
        return at


class Versions:
    """The image's version indices: its own definitions from 2 on, then what it needs of others."""

    def __init__(self) -> None:
        self.defined: dict[bytes, int] = {}
        self.needed: dict[tuple[bytes, bytes], int] = {}

    def number(self, names: list[bytes]) -> None:
        for name in names:
            self.defined.setdefault(name, len(self.defined) + 2)

    def need(self, file: bytes, name: bytes) -> int:
        # Numbered behind the definitions, of which all are known by now.
        return self.needed.setdefault((file, name), len(self.defined) + len(self.needed) + 2)

    def verdef(self, strings: Strings, own: bytes) -> bytes:
        """DT_VERDEF (LSB, "Symbol Versioning"): the base definition is the image itself."""
        rows = [(own, 1), *self.defined.items()] if self.defined else []
        data = bytearray()
        for place, (name, index) in enumerate(rows):
            flags = t.VER_FLG_BASE if index == 1 else 0
            step = 28 if place + 1 < len(rows) else 0
            data += _pack("<HHHHIII", 1, flags, index, 1, sysv_hash(name), 20, step)
            data += _pack("<II", strings.add(name), 0)
        return bytes(data)

    def verneed(self, strings: Strings) -> tuple[bytes, int]:
        """DT_VERNEED and the number of its files."""
        files: dict[bytes, list[tuple[bytes, int]]] = {}
        for (file, name), index in self.needed.items():
            files.setdefault(file, []).append((name, index))
        data = bytearray()
        for place, (file, names) in enumerate(files.items()):
            step = 16 + 16 * len(names) if place + 1 < len(files) else 0
            data += _pack("<HHIII", 1, len(names), strings.add(file), 16, step)
            for last, (name, index) in enumerate(names, 1):
                hop = 16 if last < len(names) else 0
                data += _pack("<IHHII", sysv_hash(name), 0, index, strings.add(name), hop)
        return bytes(data), len(files)


def _pack(form: str, *values: int) -> bytes:
    import struct

    return struct.pack(form, *values)


class DynamicSymbols:
    """The tables: ``symbols`` (structured), ``versym``, ``hash``, ``strings``; ``rela`` rows for the imports.

    ``exported`` gives for each export (module number, symbol) and where it stands in ``symbols``.
    """

    def __init__(self) -> None:
        self.strings = Strings()
        self.versions = Versions()
        self.symbols: Symbols
        self.versym: I64
        self.hash = b""
        self.relocations: list[tuple[int, int, int, int]] = []  # (place, symbol, type, addend)
        self.module: I64
        self.symbol: I64
        self.begins: I64  # where each module's string table stands in ``strings``

    def name_offsets(self, columns: Columns, module: I64, name: I64) -> I64:
        """Offsets into DT_STRTAB of names at positions in the modules' own tables."""
        offsets: I64 = self.begins[module] + name - columns.strtab[module]
        return offsets


class Rows:
    """Definitions of fused modules, as columns in scope order."""

    __slots__ = ("at", "hidden", "info", "module", "name", "other", "section", "symbol", "version")

    at: I64
    module: I64
    symbol: I64
    name: I64  # position
    info: U64
    other: U64
    section: U64
    version: I64
    hidden: Bool

    def keep(self, which: I64 | Bool) -> None:
        """Only those rows, of the columns that there are."""
        for column in self.__slots__:
            if hasattr(self, column):
                setattr(self, column, getattr(self, column)[which])


def collect_exports(plan: Plan, everything: bool) -> None:
    """Fill ``plan.symbols``. With *everything* false, only what hosted modules refer to and what COPY needs."""
    result = plan.symbols = DynamicSymbols()
    rows = definitions(plan)
    if not everything:
        rows.keep(_wanted_by_hosted(plan, rows))
    names = plan.ns.columns.names(rows.name)
    groups = group_names(names)
    group = groups.number
    keep = _first_of_each_version(plan, rows, groups)
    rows.keep(keep)
    hashes, group = names.hash[keep].astype(np.uint32), group[keep]
    _hide_later_defaults(rows, group)
    _write_tables(plan, result, rows, hashes)


def definitions(plan: Plan) -> Rows:
    """Everything that the image's modules offer."""
    columns = plan.ns.columns
    modules, symbols = [], []
    for module in plan.fused:
        table = tables(module.file)
        if table.nsyms > 1:
            modules.append(np.full(table.nsyms - 1, module.index, np.int64))
            symbols.append(np.arange(1, table.nsyms, dtype=np.int64))
    rows = Rows()
    none = np.empty(0, np.int64)
    rows.module = np.concatenate([none, *modules])
    rows.symbol = np.concatenate([none, *symbols])
    rows.at = columns.symbol_position(rows.module, rows.symbol)
    info, other, section = columns.meta(rows.at)
    bind, kind, visibility = info >> np.uint32(4), info & np.uint32(15), other & np.uint32(3)
    good = (bind == t.STB_GLOBAL) | (bind == t.STB_WEAK) | (bind == t.STB_GNU_UNIQUE)
    good &= (visibility == t.STV_DEFAULT) | (visibility == t.STV_PROTECTED)
    good &= (np.uint32(_TYPES) >> kind) & np.uint32(1) != 0
    value = columns.value(rows.at)
    # A canonical PLT entry of the program is an undefined symbol with a value.
    canonical = (rows.module == plan.main.index) & (value != 0) & (kind == t.STT_FUNC)
    good &= (section != t.SHN_UNDEF) | canonical
    rows.info, rows.other, rows.section = info, other, section
    # References, half of all symbols, go before there are more columns of them.
    del info, other, section, bind, kind, visibility, value, canonical
    rows.keep(good)
    rows.name = columns.name_position(rows.module, rows.at)
    raw, rows.version, _hidden = columns.versions(rows.module, rows.symbol)
    rows.hidden = (raw >= 0) & (raw & 0x8000 != 0)
    # Version index 0: local to its module.
    local = (raw >= 0) & (raw & 0x7FFF == 0) & (rows.section != t.SHN_UNDEF)
    if local.any():
        rows.keep(~local)
    return rows


def _wanted_by_hosted(plan: Plan, rows: Rows) -> Bool:
    ns = plan.ns
    b = ns.bindings
    hosted = np.array([m.hosted for m in ns.columns.modules], np.bool_)
    bound = (b.definer >= 0) & hosted[b.referrer] & ~hosted[np.maximum(b.definer, 0)]
    wanted = distinct(b.definer[bound] << 32 | b.definition[bound])
    key = rows.module << 32 | rows.symbol
    copies = np.array([symbol for symbol, _ in plan.imports.copies], np.int64)
    result: Bool = np.isin(key, wanted)
    result |= (rows.module == plan.main.index) & np.isin(rows.symbol, copies)
    return result


def _first_of_each_version(plan: Plan, rows: Rows, groups: Groups) -> I64:
    """Indices to keep, in scope order: the first of each (name, version), unless libc is before it."""
    group = groups.number
    order = np.lexsort((rows.version, group))
    first = np.ones(len(order), np.bool_)
    first[1:] = (group[order][1:] != group[order][:-1]) | (
        rows.version[order][1:] != rows.version[order][:-1]
    )
    keep = np.sort(order[first])
    hosted = [m.index for m in plan.hosted if m.index < len(plan.ns.columns.modules)]
    if len(keep) and hosted:
        c = join(plan.ns.columns, hosted, groups)
        earliest = np.full(groups.count, len(plan.ns.columns.modules), np.int64)
        begin, end = c.first[:-1], c.first[1:]
        some = np.flatnonzero(begin < end)
        earliest[some] = c.module[begin[some]]
        keep = keep[rows.module[keep] < earliest[group[keep]]]
    return keep


def _hide_later_defaults(rows: Rows, group: I64) -> None:
    """Of several default versions of one name only the first stays one."""
    default = np.flatnonzero(~rows.hidden)
    order = default[np.argsort(group[default], kind="stable")]
    again = group[order][1:] == group[order][:-1]
    rows.hidden[order[1:][again]] = True


def _write_tables(plan: Plan, result: DynamicSymbols, rows: Rows, hashes: I64) -> None:
    columns, imports = plan.ns.columns, plan.imports
    exports = _export_symbols(plan, result, rows)
    export_versions = _export_versions(plan, result, rows)
    functions, function_versions, function_hashes = _function_symbols(plan, result)
    variables, variable_versions, variable_hashes = _variable_symbols(plan, result)
    slots, slot_versions = _slot_symbols(plan, result)
    taken = imports.taken
    hashed = np.concatenate([functions[taken], exports, variables])
    hashed_versions = np.concatenate([function_versions[taken], export_versions, variable_versions])
    values = np.concatenate([function_hashes[taken], hashes, variable_hashes]).astype(np.uint32)
    plain = np.concatenate([np.zeros(1, SYMBOL), functions[~taken], slots])
    plain_versions = np.concatenate(
        [np.zeros(1, np.int64), function_versions[~taken], slot_versions]
    )
    result.hash, order = gnu_hash_table(values, len(plain))
    result.symbols = np.concatenate([plain, hashed[order]])
    result.versym = np.concatenate([plain_versions, hashed_versions[order]])
    place = np.empty(len(order), np.int64)
    place[order] = len(plain) + np.arange(len(order))
    # Where the imports' symbols went: untaken functions stand in front, taken ones among the hashed.
    number = np.empty(len(taken), np.int64)
    number[~taken] = 1 + np.arange(int((~taken).sum()))
    number[taken] = place[: int(taken.sum())]
    _relocate_imports(
        plan, result, number, 1 + int((~taken).sum()), place[int(taken.sum()) :], rows
    )
    result.module, result.symbol = rows.module, rows.symbol
    assert columns is not None


def _export_symbols(plan: Plan, result: DynamicSymbols, rows: Rows) -> Symbols:
    columns = plan.ns.columns
    begins = np.zeros(len(columns.modules), np.int64)
    for module in plan.fused:
        file = module.file
        if file.dynamic is not None and t.DT_STRTAB in file.dynamic:
            start, size = file.strings()
            begins[module.index] = result.strings.table(file.data[start : start + size])
    result.begins = begins
    out = symbol_rows(plan, rows)
    out["st_name"] = result.name_offsets(columns, rows.module, rows.name)
    _define_own_canonical(plan, rows, out)
    return out


def symbol_rows(plan: Plan, rows: Rows) -> Symbols:
    """Symbol table entries for the places in the image, without names."""
    columns = plan.ns.columns
    base = np.array([m.base for m in columns.modules], np.int64)
    block = np.array([m.tls_block for m in columns.modules], np.int64)
    section = np.array([plan.section_of.get(m.index, 1) for m in columns.modules], np.int64)
    out = np.zeros(len(rows.at), SYMBOL)
    out["st_info"], out["st_other"] = rows.info, rows.other
    value = columns.value(rows.at).astype(np.int64)
    thread = (rows.info & np.uint32(15)) == t.STT_TLS
    absolute = rows.section == t.SHN_ABS
    shift = np.where(thread, block[rows.module], np.where(absolute, 0, base[rows.module]))
    out["st_value"] = value + shift
    out["st_size"] = columns.size(rows.at)
    out["st_shndx"] = np.where(absolute, t.SHN_ABS, section[rows.module])
    out["st_shndx"][rows.section == t.SHN_UNDEF] = t.SHN_UNDEF
    return out


def _define_own_canonical(plan: Plan, rows: Rows, out: Symbols) -> None:
    """The program's PLT entry of a function that is in the image too: a definition, for it leads to no look-up."""
    canonical = np.flatnonzero(rows.section == t.SHN_UNDEF)
    if not len(canonical):
        return
    b = plan.ns.bindings
    hosted = np.array([m.hosted for m in plan.ns.columns.modules], np.bool_)
    mine = (b.referrer == plan.main.index) & (b.definer >= 0) & (b.kind_of_use == 1)
    inside = b.symbol[mine & ~hosted[np.maximum(b.definer, 0)]]
    own = canonical[np.isin(rows.symbol[canonical], inside)]
    out["st_shndx"][own] = plan.section_of[plan.main.index]


def _export_versions(plan: Plan, result: DynamicSymbols, rows: Rows) -> I64:
    columns, versions = plan.ns.columns, result.versions
    need_of_main = {need.index: need for need in tables(plan.main.file).needs}
    main = rows.module == plan.main.index
    raw, _v, _h = columns.versions(rows.module, rows.symbol)
    from_need = np.zeros(len(rows.at), np.bool_)
    if need_of_main:
        from_need = main & np.isin(raw & 0x7FFF, list(need_of_main)) & (raw >= 0)
    # All version names of all modules, also those that no symbol has: a plugin may ask for them.
    for module in plan.fused:
        versions.number([d.name for d in tables(module.file).verdefs if not d.base])
    index = np.ones(len(columns.version_names) + 1, np.int64)
    for number, name in enumerate(columns.version_names):
        if name is not None and name in versions.defined:
            index[number] = versions.defined[name]
    out = index[rows.version] | np.where(rows.hidden, 0x8000, 0)
    hosted = {soname(plan, module.index) for module in plan.hosted if module.index >= 0}
    for row in np.flatnonzero(from_need).tolist():
        need = need_of_main[int(raw[row]) & 0x7FFF]
        if need.file in hosted:
            out[row] = versions.need(need.file, need.name)
    return out


def _need_versions(plan: Plan, result: DynamicSymbols, module: I64, symbol: I64) -> I64:
    """Version indices for imports of these definitions."""
    columns = plan.ns.columns
    _raw, version, _hidden = columns.versions(module, symbol)
    out = np.ones(len(module), np.int64)
    known: dict[tuple[int, int], int] = {}
    for row, key in enumerate(zip(module.tolist(), version.tolist(), strict=True)):
        index = known.get(key)
        if index is None:
            name = columns.version_names[key[1]]
            index = known[key] = (
                1 if name is None else result.versions.need(soname(plan, key[0]), name)
            )
        out[row] = index
    return out


def soname(plan: Plan, module: int) -> bytes:
    """The name by which ld.so knows a hosted module."""
    import os

    m = plan.ns.columns.modules[module]
    return os.fsencode(m.soname or m.path)


def _names(plan: Plan, result: DynamicSymbols, module: I64, symbol: I64) -> tuple[I64, I64]:
    """(st_name, GNU hash) of definitions in hosted modules."""
    columns = plan.ns.columns
    at = columns.name_position(module, columns.symbol_position(module, symbol))
    names = columns.names(at)
    offsets = [result.strings.add(names.text(i)) for i in range(len(at))]
    return np.array(offsets, np.int64), names.hash.astype(np.int64)


def _function_symbols(plan: Plan, result: DynamicSymbols) -> tuple[Symbols, I64, I64]:
    imports = plan.imports
    out = np.zeros(len(imports.module), SYMBOL)
    name, hashes = _names(plan, result, imports.module, imports.symbol)
    out["st_name"], out["st_info"] = name, _GLOBAL | t.STT_FUNC
    out["st_value"] = np.where(imports.taken, trampoline(plan, np.arange(len(out))), 0)
    return out, _need_versions(plan, result, imports.module, imports.symbol), hashes


def _variable_symbols(plan: Plan, result: DynamicSymbols) -> tuple[Symbols, I64, I64]:
    """COPY slots under all their names, but those that the program has itself."""
    columns = plan.ns.columns
    modules, symbols, addresses = [], [], []
    seen = set()
    for module, symbol, offset, _address in plan.imports.variables:
        if offset < 0 or (module, offset) in seen:
            continue
        seen.add((module, offset))
        for alias in aliases(plan, module, symbol).tolist():
            modules.append(module)
            symbols.append(alias)
            addresses.append(plan.data + offset)
    module_, symbol_ = np.array(modules, np.int64), np.array(symbols, np.int64)
    out = np.zeros(len(modules), SYMBOL)
    at = columns.symbol_position(module_, symbol_)
    name, hashes = _names(plan, result, module_, symbol_)
    info, _other, _section = columns.meta(at)
    raw, _version, _hidden = columns.versions(module_, symbol_)
    out["st_name"], out["st_info"], out["st_shndx"] = name, info, 1
    out["st_value"], out["st_size"] = np.array(addresses, np.int64), columns.size(at)
    versions = _need_versions(plan, result, module_, symbol_)
    return out, versions | (raw & 0x8000) * (raw >= 0), hashes


def _slot_symbols(plan: Plan, result: DynamicSymbols) -> tuple[Symbols, I64]:
    keys = list(plan.imports.slots)
    module, symbol = (
        np.array([k[0] for k in keys], np.int64),
        np.array([k[1] for k in keys], np.int64),
    )
    out = np.zeros(len(keys), SYMBOL)
    info, _other, _section = plan.ns.columns.meta(plan.ns.columns.symbol_position(module, symbol))
    out["st_name"] = _names(plan, result, module, symbol)[0]
    out["st_info"] = _GLOBAL | (info & np.uint32(15))
    return out, _need_versions(plan, result, module, symbol)


def _relocate_imports(
    plan: Plan, result: DynamicSymbols, functions: I64, slots: int, hashed: I64, rows: Rows
) -> None:
    """The relocations that are left to ld.so. COPY names a defined symbol, whose size it is."""
    from rtld.frozen.imports import slot_address

    types, imports = plan.ns.arch.reloc_types, plan.imports
    out = result.relocations
    count = len(functions)
    for (_m, _s, kind), number in imports.slots.items():
        out.append((slot_address(plan, count + number), slots + number, kind, 0))
    out += [
        (slot_address(plan, number), symbol, types.jump_slot, 0)
        for number, symbol in enumerate(functions.tolist())
    ]
    main = {int(rows.symbol[i]): i for i in np.flatnonzero(rows.module == plan.main.index).tolist()}
    done = set()
    for symbol, offset in imports.copies:
        place = plan.main.base + offset
        if symbol in main and place not in done:
            done.add(place)
            out.append((place, int(hashed[main[symbol]]), types.copy, 0))
    exports = len(rows.module)
    for number in range(exports, len(hashed)):
        address = int(result.symbols["st_value"][hashed[number]])
        if address not in done:
            done.add(address)
            out.append((address, int(hashed[number]), types.copy, 0))

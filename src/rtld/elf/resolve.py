"""Each symbol a module refers to, once, in its scope: relocations to references, references to ``Bindings``.

A reference is a distinct (module, symbol, class), where the class is glibc's: PLT-like uses (JUMP_SLOT, all TLS types)
cannot take an undefined symbol's canonical PLT address, COPY does not look into the program. All references of all
modules are answered by one hash join (lookup.py); then come the rules that need the whole answer: own definitions of
local, hidden and protected references, one STB_GNU_UNIQUE winner for each name, undefined weak references.
"""

from __future__ import annotations

import os

import numpy as np

from rtld.core.module import Problem
from rtld.elf import types as t
from rtld.elf.flat import flat, keep_freed_memory
from rtld.elf.groups import group_names
from rtld.elf.lookup import (
    COPY,
    DATA,
    PLT,
    Candidates,
    Columns,
    Rules,
    Wanted,
    first_accepted,
    join,
)
from rtld.elf.tables import tables
from rtld.errors import Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.flat import I64, Bool
    from rtld.elf.hash import Names

NORMAL, WEAK_UNDEFINED, PROTECTED, UNIQUE, COPIED, LOCAL, UNDEFINED = range(7)
KINDS = ("normal", "weak-undefined", "protected", "unique", "copy", "local", "undefined")
_CLASSES = {"data": DATA, "plt": PLT, "copy": COPY}


class Relocations:
    """The relocations of some modules that are not promised to be RELATIVE, as columns, modules one after the other.

    place_at is the position of each record; ``reference`` is the row in ``Bindings`` (or -1: no symbol).
    """

    __slots__ = ("at", "is_rela", "module", "reference", "symbol", "type")

    at: I64
    module: I64
    type: I64
    symbol: I64
    is_rela: Bool
    reference: I64


class Bindings:
    """The answers, one row for each reference: columns of equal length, in module and symbol order.

    referrer, symbol      module number and index in its symbol table
    kind_of_use           DATA, PLT or COPY (lookup.py)
    definer, definition   module number (-1: nobody) and index in its symbol table
    kind                  index into KINDS
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        empty = np.empty(0, np.int64)
        self.referrer: I64 = empty
        self.symbol: I64 = empty
        self.kind_of_use: I64 = empty
        self.definer: I64 = empty
        self.definition: I64 = empty
        self.kind: I64 = empty
        self.version: I64 = empty

    def __len__(self) -> int:
        return len(self.referrer)

    @property
    def modules(self) -> list[Module]:
        return self.columns.modules

    def name(self, row: int) -> str:
        """The symbol's name as the referrer spells it."""
        module = self.modules[int(self.referrer[row])]
        return symbol_name(module, int(self.symbol[row]))

    def version_name(self, row: int) -> str | None:
        name = self.columns.version_names[int(self.version[row])]
        return None if name is None else os.fsdecode(name)

    def looked_up(self) -> I64:
        """Rows that went through a scope: not local to their module."""
        return np.flatnonzero(self.kind != LOCAL)

    def rows(
        self, which: I64 | None = None
    ) -> Iterator[tuple[str, str | None, str, str | None, str]]:
        """(referrer, definer or None, symbol, version or None, kind), for people and JSON.

        A symbol referenced both by COPY and otherwise gives the COPY row's definer only once, as ld.so reports it.
        """
        modules = self.modules
        which = self.looked_up() if which is None else which
        for row in which.tolist():
            definer = int(self.definer[row])
            yield (
                modules[int(self.referrer[row])].path,
                modules[definer].path if definer >= 0 else None,
                self.name(row),
                self.version_name(row),
                KINDS[int(self.kind[row])],
            )

    def __iter__(self) -> Iterator[tuple[str, str | None, str, str | None, str]]:
        return self.rows()


def symbol_name(module: Module, symbol: int) -> str:
    """The name of entry ``symbol`` of the module's symbol table."""
    table = tables(module.file)
    name = int(flat(table.order + "u4")[table.symtab + symbol * table.syment])
    return str(module.file.string(name, "st_name"))


def collect_relocations(modules: Sequence[Module], columns: Columns, arch: Any) -> Relocations:
    """All relocation records of *modules* (indices into ``columns``), but for the promised RELATIVE prefixes."""
    wide = columns.wide
    word = 8 if wide else 4
    view = flat(f"{columns.order}u{word}")
    infos, ats, counts, numbers, relas = [], [], [], [], []
    for number, module in enumerate(columns.modules):
        if module not in modules:
            continue
        for table in tables(module.file).relocs:
            count = table.count - table.relative
            if count <= 0:
                continue
            begin = table.position + table.relative * table.entsize
            infos.append(
                view[begin + word : begin + word + (count - 1) * table.entsize + 1 : table.entsize]
            )
            ats.append((begin, table.entsize))
            counts.append(count)
            numbers.append(number)
            relas.append(table.is_rela)
    result = Relocations()
    info = np.concatenate(infos) if infos else np.empty(0, f"{columns.order}u{word}")
    if columns.order == ">":
        info = info.astype(f"u{word}")
    size: I64 = np.array(counts, np.int64)
    total = len(info)
    ends = np.cumsum(size)
    begin_of: I64 = np.array([a for a, _ in ats], np.int64)
    step_of: I64 = np.array([s for _, s in ats], np.int64)
    steps: I64 = np.arange(total, dtype=np.int64)
    if len(set(step_of.tolist())) == 1:
        steps *= step_of[0]
        origin: I64 = begin_of - (ends - size) * step_of
    else:
        steps = (steps - np.repeat(ends - size, size)) * np.repeat(step_of, size)
        origin = begin_of
    result.at = steps + np.repeat(origin, size)
    result.module = np.repeat(np.array(numbers, np.int64), size)
    result.is_rela = np.repeat(np.array(relas, np.bool_), size)
    symbol, kind = arch.rinfo.split(info)
    result.symbol, result.type = symbol.astype(np.int64), kind.astype(np.int64)
    result.reference = np.full(total, -1, np.int64)
    return result


def class_table(arch: Any) -> I64:
    """glibc's look-up class for each relocation number, -1 for types that never look a symbol up or are unknown."""
    table = np.full(max(arch.relocs) + 1, -1, np.int64)
    for number, row in arch.relocs.items():
        table[number] = _CLASSES[row.lookup]
    return table


def resolve_symbols(
    ns: Namespace, modules: Sequence[Module], order: Sequence[Module]
) -> tuple[Relocations, Bindings]:
    """Answer every reference of *modules* in the scope *order*. Problems go to ``ns.problems``."""
    columns: Columns = ns.columns
    keep_freed_memory()
    relocations = collect_relocations(modules, columns, ns.arch)
    bindings = Bindings(columns)
    classes = class_table(ns.arch)
    known = np.minimum(relocations.type, len(classes) - 1)
    use = np.where(relocations.type < len(classes), classes[known], DATA)
    if ns.arch.implicit_got is not None:
        use = add_implicit_got(ns, modules, relocations, use)
    rows = np.flatnonzero(relocations.symbol)
    use = np.maximum(use, 0)
    _make_references(
        columns, relocations, bindings, rows, use if len(rows) == len(use) else use[rows]
    )
    module, symbol = bindings.referrer, bindings.symbol
    at = columns.symbol_position(module, symbol)
    info, other, _section = columns.meta(at)
    _raw, version, hidden = columns.versions(module, symbol)
    bindings.version = version
    bind, visibility = info >> np.uint32(4), other & np.uint32(3)
    local = bind == t.STB_LOCAL
    if ns.model == "glibc":
        local |= (visibility == t.STV_HIDDEN) | (visibility == t.STV_INTERNAL)
    bindings.definer = np.where(local, module, -1)
    bindings.definition = np.where(local, symbol, 0)
    bindings.kind = np.where(local, LOCAL, NORMAL)
    lookups = np.flatnonzero(~local)
    if not len(lookups) or not order:
        return relocations, bindings
    names = columns.names(columns.name_position(module[lookups], at[lookups]))
    groups = group_names(names)
    # Columns of all relocations and references that have done their work; those of the candidates come on top.
    del use, known, rows, at, info, other, _raw, local, names
    numbers = {m: i for i, m in enumerate(columns.modules)}
    scope = [numbers[m] for m in order]
    candidates = join(columns, scope, groups)
    wanted = Wanted()
    wanted.group, wanted.module = groups.number, module[lookups]
    wanted.kind = bindings.kind_of_use[lookups]
    wanted.version = version[lookups]
    wanted.version_hidden = hidden[lookups]
    symbolic = np.array(
        [len(m.scopes) > 1 and m.scopes[0].name == "self" for m in columns.modules], np.bool_
    )
    wanted.symbolic = symbolic[wanted.module]
    rules = Rules(ns.model, numbers.get(ns.main, -1), ns.dynamic_weak)
    if ns.model not in ("glibc", "musl") or ns.host_model:
        from rtld.elf.lookup_models import acceptor

        rules.accepts = acceptor(ns, columns)
    chosen = first_accepted(candidates, wanted, rules)
    if ns.model == "glibc":
        chosen = _unique_winners(
            ns, relocations, bindings, lookups, candidates, wanted, chosen, groups.names
        )
    found = chosen >= 0
    bindings.definer[lookups] = np.where(
        found, candidates.module[chosen] if len(candidates.module) else -1, -1
    )
    bindings.definition[lookups] = np.where(
        found, candidates.symbol[chosen] if len(candidates.module) else 0, 0
    )
    unique = np.zeros(len(lookups), np.bool_)
    if len(candidates.module):
        unique = found & ((candidates.info[chosen] >> np.uint32(4)) == t.STB_GNU_UNIQUE)
    copied = wanted.kind == COPY
    bindings.kind[lookups] = np.where(copied, COPIED, np.where(unique, UNIQUE, NORMAL))
    if ns.model != "musl":
        _own_protected(bindings, lookups, candidates, wanted, chosen, found, visibility[lookups])
    _note_undefined(ns, relocations, bindings, lookups[~found], bind)
    return relocations, bindings


def _make_references(columns: Columns, r: Relocations, b: Bindings, rows: I64, use: I64) -> None:
    """Number the distinct (module, symbol, class) of relocation ``rows``; fill ``r.reference``."""
    everything = len(rows) == len(r.symbol)
    module, symbol = (r.module, r.symbol) if everything else (r.module[rows], r.symbol[rows])
    count = len(columns.modules)
    top = np.zeros(count, np.int64)
    # Modules come one after the other, so each has one run of rows.
    edges = np.searchsorted(module, np.arange(count + 1))
    filled = np.flatnonzero(edges[1:] > edges[:-1])
    if len(filled):
        top[filled] = np.maximum.reduceat(symbol, edges[filled]) + 1
    over = np.flatnonzero(top > np.maximum(columns.symtab_limit, 1))
    if len(over):
        # An index beyond the table; symbol_position raises with the file's name.
        number = int(over[0])
        columns.symbol_position(np.array([number]), np.array([int(top[number]) - 1]))
    base = np.zeros(count + 1, np.int64)
    np.cumsum(top * 4, out=base[1:])
    key = symbol << 2
    key |= use
    key += np.repeat(base[:-1], edges[1:] - edges[:-1])
    flags = np.zeros(int(base[-1]), np.bool_)
    flags[key] = True
    distinct = np.flatnonzero(flags)
    number_of = np.empty(len(flags), np.int32)
    number_of[distinct] = np.arange(len(distinct), dtype=np.int32)
    if everything:
        r.reference = number_of[key].astype(np.int64)
    else:
        r.reference[rows] = number_of[key]
    runs = np.diff(np.searchsorted(distinct, base))
    b.referrer = np.repeat(np.arange(count), runs)
    rest = distinct - np.repeat(base[:-1], runs)
    b.symbol = rest >> 2
    b.kind_of_use = rest & 3


def add_implicit_got(ns: Namespace, modules: Sequence[Module], r: Relocations, use: I64) -> I64:
    """MIPS: the GOT's global part refers to the symbols from DT_MIPS_GOTSYM on, without a record for any of them.

    Such rows get type -1 and the position of their GOT word; returns ``use`` with DATA for them.
    """
    from rtld.elf.mips import got_references

    module, symbol, at = got_references(ns, modules)
    count = len(symbol)
    r.at = np.concatenate([r.at, at])
    r.module = np.concatenate([r.module, module])
    r.type = np.concatenate([r.type, np.full(count, -1, np.int64)])
    r.symbol = np.concatenate([r.symbol, symbol])
    r.is_rela = np.concatenate([r.is_rela, np.zeros(count, np.bool_)])
    r.reference = np.full(len(r.at), -1, np.int64)
    order = np.argsort(r.module, kind="stable")
    r.at, r.module, r.type = r.at[order], r.module[order], r.type[order]
    r.symbol, r.is_rela = r.symbol[order], r.is_rela[order]
    return np.concatenate([use, np.full(count, DATA, np.int64)])[order]


def _unique_winners(
    ns: Namespace, r: Relocations, b: Bindings, lookups: I64, c: Candidates, w: Wanted, chosen: I64,
    names: Names,
) -> I64:  # fmt: skip
    """STB_GNU_UNIQUE: one definition for each name over all versions, that of the first reference in relocation order."""
    if not len(c.module):
        return chosen
    hit = np.flatnonzero((chosen >= 0) & (w.kind != COPY))
    hit = hit[(c.info[chosen[hit]] >> np.uint32(4)) == t.STB_GNU_UNIQUE]
    if not len(hit):
        return chosen
    numbers = {m: i for i, m in enumerate(b.modules)}
    key = _moments(ns, r, b)[lookups[hit]]
    order = np.lexsort((key, w.group[hit]))
    group = w.group[hit][order]
    first = np.ones(len(group), np.bool_)
    first[1:] = group[1:] != group[:-1]
    winner = chosen[hit][order][first]
    chosen = chosen.copy()
    chosen[hit[order]] = winner[np.cumsum(first) - 1]
    modules, symbols = c.module[winner].tolist(), c.symbol[winner].tolist()
    places = np.flatnonzero(first)
    spelled = hit[order[places]].tolist()
    for place, who, module_number, symbol in zip(
        places.tolist(), spelled, modules, symbols, strict=True
    ):
        module = b.modules[module_number]
        name = os.fsdecode(names.text(who))
        known = ns.unique.setdefault(name, (module, symbol))
        if known[0] is not module:
            # An earlier dlopen (or the start) settled it already.
            same = np.flatnonzero((c.module == numbers[known[0]]) & (c.symbol == known[1]))
            if len(same):
                chosen[hit[w.group[hit] == group[place]]] = int(same[0])
    return chosen


def _moments(ns: Namespace, r: Relocations, b: Bindings) -> I64:
    """For each reference a number that ascends in the order in which ld.so's relocation meets them first."""
    rank = np.zeros(len(b.modules), np.int64)
    numbers = {m: i for i, m in enumerate(b.modules)}
    for place, module in enumerate(ns.relocation_order):
        if module in numbers:
            rank[numbers[module]] = place
    row = np.full(len(b), len(r.reference), np.int64)
    used = np.flatnonzero(r.reference >= 0)
    np.minimum.at(row, r.reference[used], used)
    moments: I64 = (rank[b.referrer] << 40) | row
    return moments


def _own_protected(
    b: Bindings, lookups: I64, c: Candidates, w: Wanted, chosen: I64, found: Bool, visibility: Any
) -> None:
    """A protected reference takes its own definition, whoever else was found first (_dl_lookup_symbol_x)."""
    for i in np.flatnonzero((visibility == t.STV_PROTECTED) & found).tolist():
        row = int(lookups[i])
        b.kind[row] = PROTECTED
        own, symbol = int(b.referrer[row]), int(b.symbol[row])
        if int(b.definer[row]) == own:
            continue
        if int(w.kind[i]) != PLT and int(c.section[chosen[i]]) == t.SHN_UNDEF:
            # The program's canonical PLT entry stays the function's address if the real definition is our own.
            again = Wanted()
            again.group, again.module = w.group[i : i + 1], w.module[i : i + 1]
            again.kind = np.array([PLT])
            again.version, again.version_hidden = w.version[i : i + 1], w.version_hidden[i : i + 1]
            again.symbolic = w.symbolic[i : i + 1]
            real = int(first_accepted(c, again, Rules("glibc", -1))[0])
            if real >= 0 and int(c.module[real]) == own:
                continue
        b.definer[row], b.definition[row] = own, symbol


def _note_undefined(ns: Namespace, r: Relocations, b: Bindings, rows: I64, bind: Any) -> None:
    weak = bind[rows] == t.STB_WEAK
    b.kind[rows] = np.where(weak, WEAK_UNDEFINED, UNDEFINED)
    rows = rows[~weak]
    if not len(rows):
        return
    rows = rows[np.argsort(_moments(ns, r, b)[rows], kind="stable")]
    musl = ns.model == "musl"
    seen: set[tuple[int, int]] = set()
    for row in rows.tolist():
        key = (int(b.referrer[row]), int(b.symbol[row]))
        if key in seen:
            continue
        seen.add(key)
        name, version = b.name(row), b.version_name(row)
        module = b.modules[key[0]].path
        if musl:
            message = f"Error relocating {module}: {name}: symbol not found"
        else:
            message = f"{module}: undefined symbol: {name}" + (
                f", version {version}" if version else ""
            )
        ns.problems.append(
            Problem(
                "symbol",
                module,
                name,
                message,
                fatal=bool(b.kind_of_use[row] != PLT),
                version=version,
            )
        )


def unknown_relocations(ns: Namespace, r: Relocations) -> list[Unknown]:
    """One error for each module that has relocation numbers its CPU's table does not know."""
    strange = sorted(set(r.type.tolist()) - {-1, *ns.arch.relocs})
    result = []
    for number in strange:
        row = int(np.flatnonzero(r.type == number)[0])
        module = ns.columns.modules[int(r.module[row])]
        detail = f"relocation type {number} is not in the table of {ns.arch.name}"
        result.append(Unknown(module.path, detail))
    return result

"""One look-up, one candidate after the other, with the reason each was taken or refused.

The rules are those of ``lookup.py``, which decides them for all references at once: glibc 2.36 elf/dl-lookup.c
(check_match, do_lookup_x, _dl_lookup_symbol_x), musl 1.2 ldso/dynlink.c (find_sym2). Here they are scalar and speak.
What a program is bound to is always taken from ``Bindings``; tests compare the two.
"""

from __future__ import annotations

import os
from collections import namedtuple
from itertools import pairwise

import numpy as np

from rtld.elf import types as t
from rtld.elf.load import binds_now
from rtld.elf.lookup import COPY, PLT
from rtld.elf.lookup_models import judge_early, judge_version, model_for, prefer_strong
from rtld.elf.resolve import KINDS, LOCAL
from rtld.elf.tables import symbols, tables, versym

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile
    from rtld.elf.flat import I64
    from rtld.elf.resolve import Bindings
    from rtld.events import Reporter, Scopes

#: One candidate: where, which entry, as nm would write it, one of the verdicts below, and the reason in words.
Row = namedtuple("Row", "module symbol spelled verdict reason")

TAKEN = "taken"
REFUSED = "refused"
INTERPOSED = "interposed"  # would have been taken if the one before it were not there
REFERENCE = "reference"  # no definition: the module itself needs the name

_LOOKED_UP = (t.STT_NOTYPE, t.STT_OBJECT, t.STT_FUNC, t.STT_COMMON, t.STT_TLS, t.STT_GNU_IFUNC)
_STO_MIPS_PLT = 8
_GLOBAL = (t.STB_GLOBAL, t.STB_WEAK, t.STB_GNU_UNIQUE)
# fmt: off
TYPE_NAMES = {
    0: "NOTYPE", 1: "OBJECT", 2: "FUNC", 3: "SECTION", 4: "FILE", 5: "COMMON", 6: "TLS", 10: "IFUNC",
}
BIND_NAMES = {0: "LOCAL", 1: "GLOBAL", 2: "WEAK", 10: "UNIQUE"}
VISIBILITY_NAMES = ("DEFAULT", "INTERNAL", "HIDDEN", "PROTECTED")
USE_NAMES = ("data", "plt", "copy")  # lookup.DATA, PLT, COPY
# fmt: on


class Symbol:
    """One entry of a module's dynamic symbol table, with its version."""

    __slots__ = (
        "bind",
        "index",
        "module",
        "name",
        "other",
        "raw",
        "section",
        "size",
        "type",
        "value",
        "version",
    )

    def __init__(self, module: Module, index: int, name: str) -> None:
        entry = symbols(module.file)[index]
        self.module = module
        self.index = index
        self.name = name
        info = int(entry["st_info"])
        self.type, self.bind = info & 15, info >> 4
        self.other = int(entry["st_other"])
        self.section = int(entry["st_shndx"])
        self.value, self.size = int(entry["st_value"]), int(entry["st_size"])
        self.raw = -1
        self.version: str | None = None
        column = versym(module.file)
        if column is not None:
            table = tables(module.file)
            self.raw = int(column[index])
            known = table.versions.get(self.raw & 0x7FFF)
            self.version = None if known is None else os.fsdecode(known[0])

    @property
    def defined(self) -> bool:
        """Whether it has a value that can be bound to: an undefined one may be a canonical PLT entry."""
        if self.section == t.SHN_UNDEF:
            # On MIPS it is the lazy stub of a function, unless STO_MIPS_PLT says otherwise.
            mine = self.module.file.machine != t.EM_MIPS or bool(self.other & _STO_MIPS_PLT)
            return self.value != 0 and mine
        return self.value != 0 or self.section == t.SHN_ABS or self.type == t.STT_TLS

    @property
    def spelled(self) -> str:
        """name@VERSION where the version is hidden or needed, name@@VERSION where it is the default."""
        if self.version is None:
            return self.name
        default = self.section != t.SHN_UNDEF and not self.raw & 0x8000
        return f"{self.name}{'@@' if default else '@'}{self.version}"


class Reference:
    """What is looked for: a name, perhaps a version, by whom (None: dlsym) and for which class of use."""

    __slots__ = ("hidden", "module", "name", "use", "version")

    def __init__(
        self,
        name: str,
        version: str | None = None,
        module: Module | None = None,
        use: int = 0,
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.version = version
        self.module = module
        self.use = use
        self.hidden = hidden  # vna_other's top bit: no base definition will do


class Answer:
    """A reference, the scopes walked, every candidate met, and the outcome."""

    __slots__ = ("definer", "definition", "kind", "note", "reference", "rows", "scopes")

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.scopes: list[tuple[str, int]] = []  # name of the scope, number of modules in it
        self.rows: list[Row] = []
        self.definer: Module | None = None
        self.definition: Symbol | None = None
        self.kind = ""
        self.note = ""  # the rule that decided, when it was not the walk


# -- finding names --------------------------------------------------------------------------------


def same_name(file: ElfFile, name: bytes) -> list[int]:
    """Every entry of the dynamic symbol table with this name, in order, definitions and references."""
    if not tables(file).symtab_limit:
        return []
    start, size = file.strings()
    strings = bytes(file.data[start : start + size])
    wanted = name + b"\0"
    offsets = []
    at = strings.find(wanted)
    while at >= 0:
        # Tails of longer names count, too: link editors merge strings.
        offsets.append(at)
        at = strings.find(wanted, at + 1)
    if not offsets:
        return []
    column = symbols(file)["st_name"]
    return [int(i) for i in np.flatnonzero(np.isin(column, offsets)).tolist() if i]


def is_hashed(file: ElfFile, index: int) -> bool:
    """Whether a look-up can meet the entry: .gnu.hash leaves out the first ones."""
    table = tables(file)
    return table.hash_style == "sysv" or (table.hash_style == "gnu" and index >= table.first_hashed)


def entries(ns: Namespace, name: str) -> dict[Module, list[Symbol]]:
    """All entries of that name in the namespace, by module in load order."""
    raw = os.fsencode(name)
    result = {}
    for module in ns.modules:
        found = same_name(module.file, raw)
        if found:
            result[module] = [Symbol(module, index, name) for index in found]
    return result


# -- the rules ------------------------------------------------------------------------------------


def judge(model: str, reference: Reference, symbol: Symbol, main: Module) -> tuple[bool, str]:
    """Whether one definition answers a reference, and why (not). check_match, or find_sym2 for musl."""
    if symbol.section == t.SHN_UNDEF and reference.use == PLT:
        return False, "a PLT entry that stands for the function: not for calls"
    if not symbol.defined:
        return False, "its value is 0"
    if symbol.type not in _LOOKED_UP:
        return False, f"type {TYPE_NAMES.get(symbol.type, symbol.type)} is never looked up"
    if reference.use == COPY and symbol.module is main:
        return False, "a COPY relocation does not look into the program itself"
    other = judge_early(model, reference, symbol)
    if other is not None:
        return False, other
    if symbol.bind not in _GLOBAL:
        return False, f"binding {BIND_NAMES.get(symbol.bind, symbol.bind)}: not for others"
    if not is_hashed(symbol.module.file, symbol.index):
        return False, "not in the hash table, so nobody finds it"
    if model == "musl":
        if symbol.raw >= 0 and symbol.raw & 0x8000:
            return False, "hidden version: musl takes the default one only"
        if symbol.type == t.STT_GNU_IFUNC:
            return False, "musl has no IFUNC"
        return True, _how(symbol, "musl does not compare versions" if reference.version else "")
    if symbol.other & 3 not in (t.STV_DEFAULT, t.STV_PROTECTED):
        return False, f"visibility {VISIBILITY_NAMES[symbol.other & 3]}: not for others"
    if model not in ("glibc", "freebsd"):
        fits, reason = judge_version(model, reference, symbol)
        return fits, _how(symbol, reason) if fits else reason
    return _judge_version(reference, symbol)


def _judge_version(reference: Reference, symbol: Symbol) -> tuple[bool, str]:
    """The part of check_match that compares versions."""
    wanted = reference.version
    if symbol.raw < 0:
        return True, _how(symbol, "its module has no versions, so it fits any" if wanted else "")
    number = symbol.raw & 0x7FFF
    if wanted is None:
        if number < 3:
            return True, _how(
                symbol, "the base or first version, which unversioned references take"
            )
        if symbol.raw & 0x8000:
            return False, "hidden version: only for references that name it"
        return False, "a later version than the first, and the reference names none"
    if symbol.version == wanted:
        return True, _how(symbol, "the version asked for")
    if symbol.version is None and not symbol.raw & 0x8000 and not reference.hidden:
        return True, _how(symbol, "the base definition, which fits any version")
    has = symbol.version or "the base version"
    return False, f"another version: {has}, wanted {wanted}"


def _how(symbol: Symbol, reason: str) -> str:
    """What is worth knowing about a definition besides that it fits."""
    words = [reason] if reason else []
    if symbol.bind == t.STB_WEAK:
        words.append("weak counts like strong")
    if symbol.bind == t.STB_GNU_UNIQUE:
        words.append("unique: one for the whole process")
    if symbol.type == t.STT_GNU_IFUNC:
        words.append("an IFUNC: its resolver chooses the function")
    if symbol.section == t.SHN_UNDEF:
        words.append("its PLT entry, which is the function's address for all")
    return "; ".join(words)


def judge_module(
    model: str, reference: Reference, found: Sequence[Symbol], main: Module
) -> tuple[Symbol | None, list[tuple[Symbol, bool, str]]]:
    """A module's entries of the name: the one it offers for the reference, and the verdict on each."""
    verdicts = [(s, *judge(model, reference, s, main)) for s in found if s.defined]
    taken = next((s for s, fits, _ in verdicts if fits), None)
    if taken is None and model in ("glibc", "freebsd") and reference.version is None:
        # "If we have seen exactly one versioned symbol while we are looking for an unversioned symbol": that one.
        later = [
            s
            for s, _, reason in verdicts
            if s.raw >= 0
            and s.raw & 0x7FFF >= 3
            and not s.raw & 0x8000
            and reason.startswith("a later version")
        ]
        if len(later) == 1:
            taken = later[0]
            only = _how(taken, "the only version that is not hidden")
            verdicts = [
                (s, s is taken or fits, only if s is taken else r) for s, fits, r in verdicts
            ]
    return taken, verdicts


# -- whole look-ups -------------------------------------------------------------------------------


def explain(
    ns: Namespace, reference: Reference, found: dict[Module, list[Symbol]] | None = None
) -> Answer:
    """Walk the reference's scopes; what comes after the definition is whom it interposes."""
    found = entries(ns, reference.name) if found is None else found
    answer = Answer(reference)
    scopes = reference.module.scopes if reference.module is not None else (ns.global_scope,)
    met: set[Module] = set()
    for scope in scopes:
        answer.scopes.append((scope.name, len(scope.modules)))
        for module in scope.modules:
            if module not in met and module in found:
                met.add(module)
                _walk_module(ns, answer, found[module], module)
    answer.kind = "normal" if answer.definer is not None else "undefined"
    if ns.dynamic_weak:
        prefer_strong(answer)
    return answer


def _walk_module(ns: Namespace, answer: Answer, found: list[Symbol], module: Module) -> None:
    taken, verdicts = judge_module(model_for(ns, module), answer.reference, found, ns.main)
    for symbol, fits, reason in verdicts:
        if symbol is not taken:
            verdict = REFUSED
            if fits:
                reason = "the module offers another entry first"
        elif answer.definer is None:
            answer.definer, answer.definition = module, symbol
            verdict = TAKEN
        else:
            verdict = INTERPOSED
        if ns.dynamic_weak:
            reason = reason.replace("weak counts like strong", "weak, but nobody has another")
        answer.rows.append(Row(module, symbol, symbol.spelled, verdict, reason))
    if not verdicts:
        answer.rows.append(
            Row(module, found[0], found[0].spelled, REFERENCE, "needs it, does not define it")
        )


def references(ns: Namespace, found: dict[Module, list[Symbol]]) -> list[int]:
    """Rows of the bindings whose referrer's entry is one of these."""
    bindings: Bindings = ns.bindings
    numbers = {module: i for i, module in enumerate(bindings.modules)}
    result: list[int] = []
    for module, list_ in found.items():
        number = numbers[module]
        first, last = np.searchsorted(bindings.referrer, [number, number + 1])
        inside = np.isin(bindings.symbol[first:last], [s.index for s in list_])
        result += (np.flatnonzero(inside) + int(first)).tolist()
    return result


def explain_binding(ns: Namespace, row: int, found: dict[Module, list[Symbol]]) -> Answer:
    """The look-up behind one row of the bindings; the outcome is the row's own."""
    bindings: Bindings = ns.bindings
    module = bindings.modules[int(bindings.referrer[row])]
    index = int(bindings.symbol[row])
    own = next(s for s in found[module] if s.index == index)
    hidden = False
    known = tables(module.file).versions.get(own.raw & 0x7FFF)
    if own.raw >= 0 and known is not None:
        hidden = known[1]
    reference = Reference(
        own.name, bindings.version_name(row), module, int(bindings.kind_of_use[row]), hidden
    )
    kind = KINDS[int(bindings.kind[row])]
    if int(bindings.kind[row]) == LOCAL:
        answer = Answer(reference)
        answer.note = "local or hidden in its own module: never looked up"
    else:
        answer = explain(ns, reference, found)
    answer.kind = kind
    number = int(bindings.definer[row])
    definer = bindings.modules[number] if number >= 0 else None
    definition = int(bindings.definition[row])
    if (definer, definition) != (
        answer.definer,
        answer.definition.index if answer.definition else 0,
    ):
        _settle(answer, definer, definition, found)
    return answer


def _settle(
    answer: Answer, definer: Module | None, index: int, found: dict[Module, list[Symbol]]
) -> None:
    """The bindings know better than the walk: say which rule it was."""
    if not answer.note:
        answer.note = {
            "unique": "STB_GNU_UNIQUE: the definition that the first reference in the process was bound to",
            "protected": "protected: a module's references to its own protected symbols stay at home",
        }.get(answer.kind, "")
    answer.definer = definer
    answer.definition = (
        next((s for s in found.get(definer, ()) if s.index == index), None) if definer else None
    )
    rows = []
    for row in answer.rows:
        mine = row.module is definer and row.symbol.index == index
        if mine:
            row = row._replace(verdict=TAKEN)
        elif row.verdict == TAKEN:
            row = row._replace(verdict=INTERPOSED)
        rows.append(row)
    answer.rows = rows


# -- bindings as rows -----------------------------------------------------------------------------


def names_of(bindings: Bindings, which: Sequence[int] | I64 | None = None) -> list[str]:
    """The symbols' names, quickly: one pass over each module's strings."""
    rows = np.asarray(bindings.looked_up() if which is None else which)
    referrer = bindings.referrer[rows]
    order = np.argsort(referrer, kind="stable")
    result: list[str] = [""] * len(rows)
    edges = np.flatnonzero(np.diff(referrer[order], prepend=-1, append=-1)).tolist()
    for first, last in pairwise(edges):
        mine = order[first:last]
        module = bindings.modules[int(referrer[mine[0]])]
        file, table = module.file, tables(module.file)
        start, size = file.strings()
        text = bytes(file.data[start : start + size])
        # The symbol may lie beyond the hashed ones: count as far as the table can go.
        column = np.frombuffer(
            file.data, symbols(file).dtype, table.symtab_limit, table.symtab - table.base
        )["st_name"]
        places = column[bindings.symbol[rows[mine]]]
        if len(places) and int(places.max()) >= size:
            raise file.fail("symbol", "st_name", int(places.max()), f"less than DT_STRSZ {size:#x}")
        find = text.find
        for slot, at in zip(mine.tolist(), places.tolist(), strict=True):
            result[slot] = text[at : find(b"\0", at)].decode("utf-8", "surrogateescape")
    return result


def binding_rows(
    bindings: Bindings, which: Sequence[int] | I64 | None = None
) -> Iterator[tuple[Module, Module | None, str, str | None, str]]:
    """(referrer, definer, symbol, version, kind) with modules, for 200,000 rows and more."""
    rows = np.asarray(bindings.looked_up() if which is None else which)
    modules: list[Module | None] = [*bindings.modules, None]  # -1 is nobody
    versions = [
        None if name is None else os.fsdecode(name) for name in bindings.columns.version_names
    ]
    columns = (bindings.referrer, bindings.definer, bindings.version, bindings.kind)
    referrer, definer, version, kind = (column[rows].tolist() for column in columns)
    for a, b, name, v, k in zip(
        referrer, definer, names_of(bindings, rows), version, kind, strict=True
    ):
        yield bindings.modules[a], modules[b], name, versions[v], KINDS[k]


def relocation_sequence(
    ns: Namespace, order: Sequence[Module]
) -> Iterator[tuple[Module, list[int]]]:
    """For each module of *order* the rows of the bindings that are looked up when it is relocated, record by record.

    A record for the same symbol and use as the one before is answered from memory (elf/dl-reloc.c, RESOLVE_MAP). With lazy
    binding what only PLT slots refer to is not looked up yet.
    """
    b, r = ns.bindings, ns.relocations
    through_scope = np.zeros(len(b) + 1, np.bool_)  # the last is for relocations without a symbol
    through_scope[b.looked_up()] = True
    keep = through_scope[r.reference]
    slot = ns.arch.reloc_types.jump_slot
    if ns.lazy and slot is not None:
        # The dynamic linker cannot wait for itself.
        now = np.array([m is ns.interp or binds_now(m) for m in b.modules], np.bool_)
        keep &= (r.type != slot) | now[r.module]
        if ns.arch.implicit_got is not None:
            from rtld.elf.mips import lazy_words

            keep &= ~lazy_words(ns)
    rows, owner = r.reference[keep], r.module[keep]
    fresh = np.ones(len(rows), np.bool_)
    fresh[1:] = (rows[1:] != rows[:-1]) | (owner[1:] != owner[:-1])
    rows, owner = rows[fresh], owner[fresh]
    numbers = {module: i for i, module in enumerate(b.modules)}
    for module in order:
        yield module, rows[owner == numbers.get(module, -1)].tolist()


def tell_bindings(
    ns: Namespace,
    reporter: Reporter,
    order: Sequence[Module] | None = None,
    walks: dict[Module, Scopes] | None = None,
    meet: Callable[[Module, Module], None] | None = None,
) -> None:
    """Report a finished resolution as LD_DEBUG=reloc,symbols,bindings would: look-ups and bindings of each module in *order*.

    *walks*: the lists of modules that are searched for each, where they are not ``module.scopes``.  *meet* is called with a
    module and the definer of each of its bindings, before that is told.
    """
    if meet is None and not reporter.wants & {"symbols", "bindings", "reloc"}:
        return
    if order is None:
        # The dynamic linker relocates itself last.
        order = [module for module in ns.relocation_order if module is not ns.interp]
        order += [module for module in ns.relocation_order if module is ns.interp]
    for module, rows in relocation_sequence(ns, order):
        lazy = ns.lazy and module is not ns.interp and not binds_now(module)
        reporter.relocating(module, lazy)
        uses = ns.bindings.kind_of_use[np.asarray(rows, np.int64)].tolist()
        told = binding_rows(ns.bindings, np.asarray(rows, np.int64))
        lists = (walks or {}).get(module) or [scope.modules for scope in module.scopes]
        for use, (referrer, definer, name, version, kind) in zip(uses, told, strict=True):
            if "symbols" in reporter.wants:
                tell_walk(reporter, name, lists, definer, ns.main if use == COPY else None)
            if meet is not None and definer is not None:
                meet(referrer, definer)
            reporter.bound(referrer, definer, name, version, kind)


def tell_walk(
    reporter: Reporter,
    name: str,
    lists: Scopes,
    definer: Module | None,
    skipped: Module | None = None,
) -> None:
    """The modules that were asked for a name, one after the other, up to the one that has it."""
    for modules in lists:
        for module in modules:
            if module is not skipped:
                reporter.looked_up(name, module)
            if module is definer:
                return

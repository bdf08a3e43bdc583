"""What the image asks the platform's libc for, as a non-PIE executable does: which it is, to ld.so.

Functions: one slot of the import table and one trampoline (``jmp *slot``) each. Every reference becomes the constant
address of the trampoline; where a function's address is taken the trampoline is exported as that function's address, so
that libc compares equal (the canonical PLT entry of the psABI). Data: one COPY slot each, exported under all names that
the variable has in libc. What can be neither (thread-local variables, ld.so's own) is bound by ld.so in a slot of ours
and moved to its place when the image starts.
"""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.elf.resolve import LOCAL, UNDEFINED, WEAK_UNDEFINED
from rtld.elf.tables import tables
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.flat import I64, U64, Bool
    from rtld.frozen.plan import Plan

_WORD = 8
_ALIGN = 64  # of COPY slots: as much as any variable of libc may want


class Imports:
    """Columns. ``module`` and ``symbol`` name a definition in a hosted module: numbers in ``ns.columns``.

    functions     module, symbol, taken (its address is used as a value)
    variables     module, symbol, offset in the data area (or -1: the program has a copy, at that p_vaddr)
    slots         (module, symbol, relocation type): bound by ld.so, one word each
    references    rows of ``ns.bindings``, with the number of their function, or of their variable from ``len(functions)`` on
    """

    def __init__(self) -> None:
        none = np.empty(0, np.int64)
        self.module: I64 = none
        self.symbol: I64 = none
        self.taken: Bool = none.astype(np.bool_)
        self.variables: list[tuple[int, int, int, int]] = []  # module, symbol, offset, p_vaddr
        self.slots: dict[tuple[int, int, int], int] = {}
        self.moved: list[tuple[int, int, int, int]] = []  # (slot, module, r_offset, addend)
        self.copies: list[tuple[int, int]] = []  # the program's own: (its symbol, r_offset)
        self.references: I64 = none
        self.number: I64 = none
        self.data_size = 0

    def __len__(self) -> int:
        return len(self.module) + len(self.variables) + len(self.slots)


def collect_imports(plan: Plan) -> None:
    """Sort the references to hosted modules; from here on the number of slots and trampolines is fixed."""
    ns = plan.ns
    b, columns = ns.bindings, ns.columns
    result = plan.imports = Imports()
    hosted = np.array([m.hosted for m in columns.modules], np.bool_)
    result.copies = _program_copies(plan, hosted)
    bound = (
        (b.definer >= 0) & (b.kind != LOCAL) & (b.kind != UNDEFINED) & (b.kind != WEAK_UNDEFINED)
    )
    wanted = bound & hosted[np.maximum(b.definer, 0)] & ~hosted[b.referrer] & (b.kind_of_use != 2)
    rows = np.flatnonzero(wanted)
    key = b.definer[rows] << 32 | b.definition[rows]
    keys = distinct(key)
    number = np.searchsorted(keys, key)
    module, symbol = keys >> 32, keys & 0xFFFFFFFF
    info, _other, _section = columns.meta(columns.symbol_position(module, symbol))
    kind = info & np.uint32(15)
    size = columns.size(columns.symbol_position(module, symbol))
    ldso = np.array([m is ns.interp for m in columns.modules], np.bool_)[module]
    thread = kind == t.STT_TLS
    variable = np.isin(kind, [t.STT_OBJECT, t.STT_COMMON]) & (size > 0)
    function = ~thread & ~variable
    moved = thread | (variable & ldso)
    variable &= ~ldso
    # Functions are numbered first, variables behind them.
    place = np.full(len(keys), -1, np.int64)
    chosen = np.flatnonzero(function)
    place[chosen] = np.arange(len(chosen))
    result.module, result.symbol = module[chosen], symbol[chosen]
    which = np.flatnonzero(variable)
    place[which] = len(chosen) + np.arange(len(which))
    _place_variables(plan, result, module[which], symbol[which])
    kept = place[number] >= 0
    result.references, result.number = rows[kept], place[number][kept]
    _note_taken(plan, result)
    _collect_moved(plan, result, rows[moved[number]])


def distinct(values: I64) -> I64:
    """The values, ascending, each once."""
    values = np.sort(values)
    new = np.ones(len(values), np.bool_)
    new[1:] = values[1:] != values[:-1]
    return values[new]


def _program_copies(plan: Plan, hosted: Bool) -> list[tuple[int, int]]:
    """The program's own COPY relocations of hosted variables: (its symbol, place)."""
    ns = plan.ns
    r, b = ns.relocations, ns.bindings
    rows = np.flatnonzero(
        (r.type == ns.arch.reloc_types.copy) & (r.reference >= 0) & (r.module == plan.main.index)
    )
    rows = rows[b.definer[r.reference[rows]] >= 0]
    rows = rows[hosted[b.definer[r.reference[rows]]]]
    offsets = flat("<i8")[r.at[rows]]
    return list(zip(r.symbol[rows].tolist(), offsets.tolist(), strict=True))


def _place_variables(plan: Plan, result: Imports, module: I64, symbol: I64) -> None:
    ns = plan.ns
    columns, b, r = ns.columns, ns.bindings, ns.relocations
    known: dict[tuple[int, int], tuple[int, int]] = {}
    copied = np.flatnonzero(
        (r.type == ns.arch.reloc_types.copy) & (r.reference >= 0) & (r.module == plan.main.index)
    )
    for row in copied.tolist():
        reference = int(r.reference[row])
        definer = b.definer[reference : reference + 1]
        if int(definer[0]) < 0:
            continue
        at = columns.symbol_position(definer, b.definition[reference : reference + 1])
        known[int(definer[0]), int(columns.value(at)[0])] = -1, int(flat("<i8")[int(r.at[row])])
    at = columns.symbol_position(module, symbol)
    for m, s, value, size in zip(
        module.tolist(), symbol.tolist(), columns.value(at).tolist(), columns.size(at).tolist(),
        strict=True,
    ):  # fmt: skip
        place = known.get((m, value))
        if place is None:
            place = known[m, value] = result.data_size, 0
            result.data_size += -(-size // _ALIGN) * _ALIGN
        result.variables.append((m, s, *place))


def _note_taken(plan: Plan, result: Imports) -> None:
    """Functions with a reference other than from a PLT slot."""
    r = plan.ns.relocations
    number_of = np.full(len(plan.ns.bindings) + 1, -1, np.int64)
    number_of[result.references] = result.number
    result.taken = np.zeros(len(result.module), np.bool_)
    rows = np.flatnonzero((r.type != plan.ns.arch.reloc_types.jump_slot) & (r.reference >= 0))
    numbers = number_of[r.reference[rows]]
    result.taken[numbers[(numbers >= 0) & (numbers < len(result.module))]] = True


def _collect_moved(plan: Plan, result: Imports, references: I64) -> None:
    if not len(references):
        return
    ns = plan.ns
    r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
    chosen = np.zeros(len(b) + 1, np.bool_)
    chosen[references] = True
    for row in np.flatnonzero((r.reference >= 0) & chosen[r.reference]).tolist():
        reference, kind, at = int(r.reference[row]), int(r.type[row]), int(r.at[row])
        module = ns.columns.modules[int(r.module[row])]
        offset, addend = int(flat("<i8")[at]), int(flat("<i8")[at + 16])
        if kind == types.symbolic:
            kind = types.glob_dat
        elif kind in (types.glob_dat, types.jump_slot, types.dtpmod):
            kind, addend = (types.dtpmod if kind == types.dtpmod else types.glob_dat), 0
        elif kind not in (types.dtpoff, types.tpoff):
            name = ns.arch.relocs[kind].name
            raise Unsupported(f"{module.path}: {name} of `{b.name(reference)}', which libc defines")
        key = int(b.definer[reference]), int(b.definition[reference]), kind
        slot = result.slots.setdefault(key, len(result.slots))
        result.moved.append((slot, module.index, offset, addend))


def place_imports(plan: Plan) -> None:
    """Lead the references to the trampolines and COPY slots, whose addresses are known now."""
    from rtld.frozen.startup import service_address, services

    result = plan.imports
    functions = trampoline(plan, np.arange(len(result.module)))
    for number, name in services(plan).items():
        functions[number] = service_address(plan, number, name)
    variables = [
        plan.main.base + place if offset < 0 else plan.data + offset
        for _m, _s, offset, place in result.variables
    ]
    addresses: U64 = np.concatenate([functions, np.array(variables, np.int64)]).astype(np.uint64)
    plan.ns.substitutes = result.references, addresses[result.number]


def trampoline(plan: Plan, number: I64) -> I64:
    """Addresses of the trampolines of functions *number*."""
    return plan.code + 8 * number


def slot_address(plan: Plan, number: int) -> int:
    """Address of an import slot: the functions' first, then the moved words'.

    Functions that are bound lazily have theirs in data that stays writable, as in the program's own .got.plt.
    """
    if not plan.lazy:
        return plan.relro + _WORD * number
    count = len(plan.imports.module)
    return (
        plan.got + _WORD * (3 + number) if number < count else plan.relro + _WORD * (number - count)
    )


def aliases(plan: Plan, module: int, symbol: int) -> I64:
    """All symbols of a hosted module that name the same variable."""
    columns = plan.ns.columns
    table = tables(columns.modules[module].file)
    every = np.arange(1, table.nsyms)
    at = columns.symbol_position(np.full(len(every), module), every)
    info, _other, section = columns.meta(at)
    one = columns.value(columns.symbol_position(np.array([module]), np.array([symbol])))[0]
    same = (columns.value(at) == one) & (section != t.SHN_UNDEF)
    same &= np.isin(info & np.uint32(15), [t.STT_OBJECT, t.STT_COMMON])
    found: I64 = every[same]
    return found

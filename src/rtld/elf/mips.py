"""MIPS: the GOT that is relocated without relocation records (MIPS psABI supplement; glibc sysdeps/mips/dl-machine.h).

DT_PLTGOT points to it. Its first DT_MIPS_LOCAL_GOTNO words are local: they get the load bias, but for word 0 (the lazy
resolver) and, when its top bit marks a GNU object, word 1 (the link map). Then comes one word for each symbol from
DT_MIPS_GOTSYM up to DT_MIPS_SYMTABNO: its value.
"""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t
from rtld.elf.load import binds_now, store_word
from rtld.elf.tables import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtld.core.module import Module, Namespace
    from rtld.elf.flat import I64, U64, Bool
    from rtld.elf.relocate import Terms
    from rtld.elf.resolve import Relocations

STO_MIPS_PLT = 0x8


def _got(module: Module) -> tuple[int, int, int, int] | None:
    """(p_vaddr of the GOT, local words, first global symbol, number of symbols), checked; None without one."""
    file = module.file
    dynamic = file.dynamic
    if dynamic is None or t.DT_PLTGOT not in dynamic or t.DT_MIPS_LOCAL_GOTNO not in dynamic:
        return None
    address = dynamic[t.DT_PLTGOT]
    local = dynamic[t.DT_MIPS_LOCAL_GOTNO]
    first, count = dynamic.get(t.DT_MIPS_GOTSYM, 0), dynamic.get(t.DT_MIPS_SYMTABNO, 0)
    if first > count:
        raise file.fail(
            "dynamic section", "DT_MIPS_GOTSYM", first, f"at most DT_MIPS_SYMTABNO {count}"
        )
    if count > tables(file).symtab_limit:
        raise file.fail(
            "dynamic section", "DT_MIPS_SYMTABNO", count, f"at most {tables(file).symtab_limit}"
        )
    file.file_offset(address, (local + count - first) * file.bits // 8, "DT_PLTGOT")
    return address, local, first, count


def got_references(ns: Namespace, modules: Sequence[Module]) -> tuple[I64, I64, I64]:
    """(module number, symbol, p_vaddr of the word) of every global GOT word of *modules*."""
    numbers, symbols, places = [], [], []
    for number, module in enumerate(ns.columns.modules):
        found = _got(module) if module in modules else None
        if found is None:
            continue
        address, local, first, count = found
        word = module.file.bits // 8
        symbols.append(np.arange(first, count))
        places.append(address + word * (local + np.arange(count - first)))
        numbers.append(np.full(count - first, number))
    if not numbers:
        empty = np.empty(0, np.int64)
        return empty, empty, empty
    return np.concatenate(numbers), np.concatenate(symbols), np.concatenate(places)


def relocate_got(ns: Namespace, modules: Sequence[Module], r: Relocations, terms: Terms) -> None:
    """Fill the GOTs of *modules*: bias for local words, the symbol's value for global ones."""
    word = 8 if ns.columns.wide else 4
    dtype = np.dtype(f"{ns.columns.order}u{word}")
    for module in modules:
        found = _got(module)
        if found is None or module.image is None:
            continue
        address, local, _first, _count = found
        words = module.image.view(address, word * local).view(dtype)
        # Word 1 belongs to the dynamic linker when its highest bit says that this is a GNU object.
        start = 2 if local > 1 and int(words[1]) >> (8 * word - 1) else 1
        words[start:] += dtype.type(module.base & ((1 << (8 * word)) - 1))
    rows = np.flatnonzero(
        (r.type < 0)
        & np.isin(r.module, [i for i, m in enumerate(ns.columns.modules) if m in modules])
    )
    memory = np.ndarray((len(ns.arena) - word + 1,), dtype, ns.arena, strides=(1,))
    shift = np.array(
        [m.image.start - m.image.low if m.image else 0 for m in ns.columns.modules], np.int64
    )
    reference = r.reference[rows]
    value = np.where(reference >= 0, terms.symbol_value[reference], 0)
    if ns.lazy and len(rows):
        value = value.copy()
        stubs = _stubs(ns, r, rows)
        lazy = stubs != 0
        value[lazy] = (terms.base[r.module[rows]] + stubs)[lazy]
    memory[shift[r.module[rows]] + r.at[rows]] = value.astype(dtype)


def _stubs(ns: Namespace, r: Relocations, rows: I64) -> U64:
    """Of GOT words, the p_vaddr of the lazy stub that may stand there until the first call; 0 where there is none.

    That is st_value of an undefined function that has no PLT entry, in a module that may be bound lazily.
    """
    columns = ns.columns
    at = columns.symbol_position(r.module[rows], r.symbol[rows])
    info, other, section = columns.meta(at)
    may = np.array([not m.hosted and not binds_now(m) for m in columns.modules], np.bool_)
    stub = may[r.module[rows]] & (section == t.SHN_UNDEF) & ((info & np.uint32(15)) == t.STT_FUNC)
    stub &= (other & np.uint32(STO_MIPS_PLT)) == 0
    value: U64 = columns.value(at) * stub
    return value


def lazy_words(ns: Namespace) -> Bool:
    """Which relocation rows are words of a GOT that are left to the first call."""
    r = ns.relocations
    result: Bool = r.type < 0
    rows = np.flatnonzero(result)
    result[rows] = _stubs(ns, r, rows) != 0
    return result


def is_lazy(ns: Namespace, row: int) -> bool:
    """Is that word of a GOT left to the first call?"""
    return bool(_stubs(ns, ns.relocations, np.array([row]))[0])


def open_got(ns: Namespace, link_map: Callable[[Module], int], binder: int) -> None:
    """Lead lazy stubs to *binder*: word 0 of every GOT; word 1 says whose it is."""
    for module in ns.columns.modules:
        found = None if module.hosted or module.image is None else _got(module)
        if found is not None:
            store_word(module, found[0], binder)
            if found[1] > 1:
                store_word(module, found[0] + module.file.bits // 8, link_map(module))

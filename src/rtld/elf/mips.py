"""MIPS: the GOT that is relocated without relocation records (MIPS psABI supplement; glibc sysdeps/mips/dl-machine.h).

DT_PLTGOT points to it. Its first DT_MIPS_LOCAL_GOTNO words are local: they get the load bias, but for word 0 (the lazy
resolver) and, when its top bit marks a GNU object, word 1 (the link map). Then comes one word for each symbol from
DT_MIPS_GOTSYM up to DT_MIPS_SYMTABNO: its value.
"""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t
from rtld.elf.tables import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.core.module import Module, Namespace
    from rtld.elf.flat import I64
    from rtld.elf.relocate import Terms
    from rtld.elf.resolve import Relocations


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
    memory[shift[r.module[rows]] + r.at[rows]] = value.astype(dtype)

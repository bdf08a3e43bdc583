"""Linking beside modules that somebody else has loaded: libc and its siblings in a process that ld.so has started.

Hosted modules have a base and symbols, but no image: ld.so has mapped and relocated them. ``adjust_images`` puts into our
own images what the ordinary passes do not know: replaced functions, TLS blocks that share one TLS module, the lazy slots.
``hosted_changes`` tells which words of hosted modules must change because a symbol now means one of ours: COPY
relocations of the program (stdout, environ), its own malloc.
"""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.elf.load import binds_now, store_word
from rtld.elf.mips import is_lazy, open_got
from rtld.elf.resolve import LOCAL, UNDEFINED
from rtld.elf.waiting import Ifunc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.flat import Bool


def adjust_images(ns: Namespace, *, link_map: Callable[[Module], int], binder: int) -> None:
    """Finish the images of modules that are not hosted.

    *link_map* gives the word by which a module is known to *binder*, the code that an unbound PLT slot leads to.
    """
    r, b, types, word = ns.relocations, ns.bindings, ns.arch.reloc_types, ns.arch.word
    if not len(r.at):
        return
    modules = ns.columns.modules
    numbers = {module: i for i, module in enumerate(modules)}
    if ns.overrides and len(b):
        replaced = np.zeros(len(b), np.uint64)
        for (module, symbol), address in ns.overrides.items():
            if module in numbers:
                replaced[(b.definer == numbers[module]) & (b.definition == symbol)] = address
        rows = (r.reference >= 0) & (replaced[r.reference] != 0)
        for row, module, offset in _places(ns, rows):
            kind = int(r.type[row])
            if kind == types.jump_slot and ns.lazy and not binds_now(module):
                continue  # its first call will tell
            if kind < 0 and ns.lazy and is_lazy(ns, row):
                continue
            if kind < 0 or kind in (types.glob_dat, types.jump_slot, types.symbolic):
                addend = _addend(ns, row, module, offset) if kind == types.symbolic else 0
                store_word(module, offset, int(replaced[r.reference[row]]) + addend)
    blocks = [module.tls_block for module in modules]
    if any(blocks):
        own = np.array(blocks, np.int64)[r.module]
        numbered = {(m, offset) for _, m, offset in _places(ns, r.type == types.dtpoff)}
        for _row, module, offset in _places(
            ns, (r.type == types.dtpmod) & (r.reference < 0) & (own != 0)
        ):
            # The offset beside it is a constant of the file, counted from the module's own block.
            if (module, offset + word) not in numbered:
                store_word(module, offset + word, _load(module, offset + word) + module.tls_block)
        for row, module, offset in _places(ns, r.type == types.dtpoff):
            reference = int(r.reference[row])
            definer = int(b.definer[reference]) if reference >= 0 else int(r.module[row])
            if definer >= 0:
                store_word(module, offset, _load(module, offset) + blocks[definer])
    open_slots(ns, link_map, binder)


def open_slots(ns: Namespace, link_map: Callable[[Module], int], binder: int) -> None:
    """Lead the first call through an unbound slot to *binder*: GOT[1], GOT[2], and slots that nobody defines yet."""
    r, b = ns.relocations, ns.bindings
    slot = ns.arch.reloc_types.jump_slot
    lazy = np.array(
        [not m.hosted and m.image is not None and not binds_now(m) for m in ns.columns.modules],
        np.bool_,
    )
    slots = (r.type == slot) & lazy[r.module]
    if ns.arch.implicit_got is not None:
        open_got(ns, link_map, binder)
        return
    if not slots.any():
        return
    if len(b):
        waits = b.kind == UNDEFINED
        waits[list(ns.told_when_called)] = True
        waiting = slots & (r.reference >= 0) & waits[r.reference]
        for _row, module, offset in _places(ns, waiting):
            store_word(module, offset, _load(module, offset) + module.base)
    for number in np.unique(r.module[slots]).tolist():
        module = ns.columns.modules[number]
        got = module.file.dynamic.get(t.DT_PLTGOT)
        layout, word = ns.arch.got, ns.arch.word
        end = word * layout.reserved
        if got is not None and module.image.low <= got and got + end <= module.image.high:
            store_word(module, got + word * layout.link_map, link_map(module))
            store_word(module, got + word * layout.resolver, binder)


def hosted_changes(ns: Namespace) -> list[tuple[int, int]]:
    """(address, value) of the words of hosted modules that must change; IFUNCs among them go to ``ns.ifuncs``.

    glibc's dynamic linker is left alone: it has been at work with what it found before we came. musl's is libc.
    """
    r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
    modules = ns.columns.modules
    hosted = np.array([module.hosted for module in modules], np.bool_)
    ours = ~hosted
    interp = None if ns.model == "musl" else ns.interp
    subject = np.array([module.hosted and module is not interp for module in modules], np.bool_)
    if not len(b) or not subject.any():
        return []
    foreign = (b.definer >= 0) & ours[np.maximum(b.definer, 0)] & (b.kind != LOCAL)
    rows = subject[r.module] & (r.reference >= 0) & foreign[r.reference]
    rows &= np.isin(r.type, [types.glob_dat, types.jump_slot, types.symbolic]) | (r.type < 0)
    columns = ns.columns
    changes = []
    for row, module, offset in _places(ns, rows):
        reference = r.reference[row : row + 1]
        at = columns.symbol_position(b.definer[reference], b.definition[reference])
        info, _other, section = columns.meta(at)
        definer = modules[int(b.definer[reference][0])]
        value = int(columns.value(at)[0])
        if int(section[0]) != t.SHN_ABS:
            value += definer.base
        symbolic = int(r.type[row]) == types.symbolic
        addend = _addend(ns, row, module, offset) if symbolic else 0
        place = module.base + offset
        if int(info[0]) & 15 == t.STT_GNU_IFUNC and int(section[0]) != t.SHN_UNDEF:
            ns.ifuncs.append(Ifunc(module, -1, place, value, addend, False))
        else:
            changes.append((place, value + addend & (1 << ns.arch.bits) - 1))
    return changes


def overridden_changes(ns: Namespace) -> list[tuple[int, int]]:
    """The same for what ``ns.overrides`` leads elsewhere, in hosted modules that are not of the libc family: libgcc_s, which
    asks for the tables of unwinders.
    """
    r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
    modules = ns.columns.modules
    subject = np.array([m.hosted and not m.is_libc_family for m in modules], np.bool_)
    if not len(b) or not subject.any():
        return []
    numbers = {module: i for i, module in enumerate(modules)}
    replaced = np.zeros(len(b), np.uint64)
    for (module, symbol), address in ns.overrides.items():
        if module in numbers:
            replaced[(b.definer == numbers[module]) & (b.definition == symbol)] = address
    rows = subject[r.module] & (r.reference >= 0) & (replaced[r.reference] != 0)
    rows &= np.isin(r.type, [types.glob_dat, types.jump_slot, types.symbolic]) | (r.type < 0)
    return [
        (module.base + offset, int(replaced[r.reference[row]]))
        for row, module, offset in _places(ns, rows)
    ]


def _places(ns: Namespace, rows: Bool) -> Iterator[tuple[int, Module, int]]:
    """(row, module, r_offset) of the chosen relocation records; a word of MIPS's GOT has no record, only a place."""
    r = ns.relocations
    which = np.flatnonzero(rows)
    places = r.at[which].copy()
    recorded = r.type[which] >= 0
    places[recorded] = flat(f"{ns.columns.order}u{ns.arch.word}")[places[recorded]]
    for row, number, offset in zip(
        which.tolist(), r.module[which].tolist(), places.tolist(), strict=True
    ):
        yield row, ns.columns.modules[number], offset


def _addend(ns: Namespace, row: int, module: Module, vaddr: int) -> int:
    r, word = ns.relocations, ns.arch.word
    if r.is_rela[row]:
        return int(flat(f"{ns.columns.order}i{word}")[int(r.at[row]) + 2 * word])
    # REL: it stands in the place itself; the file has it as it was before relocation.
    at = module.file.file_offset(vaddr, word, "relocation")
    order: Any = "little" if module.file.order == "<" else "big"
    return int.from_bytes(module.file.data[at : at + word], order, signed=True)


def _load(module: Module, vaddr: int) -> int:
    image, width = module.image, module.file.bits // 8
    if image is None or not image.low <= vaddr <= image.high - width:
        return 0
    order: Any = "little" if module.file.order == "<" else "big"
    return int.from_bytes(image.view(vaddr, width).tobytes(), order)


def tls_users(ns: Namespace) -> set[Module]:
    """Modules whose thread-local storage somebody reaches from the thread pointer alone (initial-exec)."""
    r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
    users = set()
    for row, module, _offset in _places(ns, r.type == types.tpoff):
        reference = int(r.reference[row])
        definer = int(b.definer[reference]) if reference >= 0 else -1
        users.add(ns.columns.modules[definer] if definer >= 0 else module)
    return users


def relocate_tls(
    ns: Namespace, descriptor: Callable[[Module | None, int], tuple[int, int]]
) -> None:
    """Thread-local relocations once more, now that all numbers are known; *descriptor* gives the words of a TLSDESC."""
    r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
    columns = ns.columns
    kinds = (types.dtpmod, types.dtpoff, types.tpoff, types.tlsdesc)
    for row, module, offset in _places(ns, np.isin(r.type, kinds)):
        kind, reference, addend = (
            int(r.type[row]),
            int(r.reference[row]),
            _addend(ns, row, module, offset),
        )
        definer: Module | None = module
        value = addend
        if reference >= 0:
            number = b.definer[reference : reference + 1]
            definer = None
            if int(number[0]) >= 0:
                definer = columns.modules[int(number[0])]
                value += int(
                    columns.value(
                        columns.symbol_position(number, b.definition[reference : reference + 1])
                    )[0]
                )
        if kind == types.tlsdesc:
            first, second = descriptor(definer, value)
            store_word(module, offset, first)
            store_word(module, offset + 8, second)
        elif definer is None:
            store_word(module, offset, 0)
        elif kind == types.dtpmod:
            store_word(module, offset, definer.tls_id)
        elif kind == types.dtpoff:
            store_word(module, offset, definer.tls_block + value)
        else:
            store_word(module, offset, definer.tls_offset + value)

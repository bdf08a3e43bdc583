"""The modules' images, relocated for their places in the image: the linker's own passes, and what they leave open.

Thread-local storage is one block, the program's: ld.so knows one object. Module ids are 1, offsets count from the merged
block's start; TLS descriptors get a resolver of ours, since all offsets from the thread pointer are constants.
"""

from __future__ import annotations

import numpy as np

from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.elf.images import build_images, relocate_relative
from rtld.elf.relocate import (
    read_memory,
    relocate_copies,
    relocate_symbolic,
)
from rtld.elf.resolve import UNDEFINED
from rtld.elf.tables import tables
from rtld.elf.tls import round_up
from rtld.errors import Unsupported
from rtld.frozen.imports import slot_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtld.elf.flat import I64
    from rtld.frozen.plan import Plan


def place_tls(plan: Plan) -> None:
    """One block for everybody: each module's part of it is known from its offset from the thread pointer."""
    layout = plan.ns.tls
    layout.align = max(layout.align, 64 if layout.size else 1)
    size = round_up(layout.size, layout.align)
    layout.size = size
    for module in layout.modules:
        module.tls_id = 1
        module.tls_block = size + module.tls_offset


def relocate_modules(plan: Plan) -> None:
    """Fill the images."""
    ns = plan.ns
    build_images(ns, plan.fused)
    relocate_relative(ns, plan.fused)
    relocate_symbolic(ns, plan.fused, ns.relocations, ns.bindings)
    sites = Sites(plan)
    _lead_undefined(plan, sites)
    _finish_tls(plan, sites)
    descriptors = _fill_descriptors(plan, sites)
    if plan.pie:
        plan.words = np.concatenate([_words(plan), np.array(descriptors, np.int64)])
    count = len(plan.imports.module)
    for slot, module, offset, addend in plan.imports.moved:
        place = ns.columns.modules[module].base + offset
        plan.moves.append((slot_address(plan, count + slot), place, addend))
    relocate_copies(ns)
    _copy_open_words(plan)
    for ifunc in ns.ifuncs:
        plan.resolved.append((ifunc.place, ifunc.resolver, ifunc.addend))
    _refuse_in_tls(plan)


class Sites:
    """From (module, r_offset) to places in the arena, as words."""

    def __init__(self, plan: Plan) -> None:
        modules = plan.ns.columns.modules
        images = [m.image for m in modules]
        self.shift = np.array([i.start - i.low if i is not None else 0 for i in images], np.int64)
        arena = plan.ns.arena
        self.words: NDArray[np.int64] = np.ndarray((len(arena) - 7,), "<i8", arena, strides=(1,))


def _rows(plan: Plan, *kinds: int) -> tuple[I64, I64, I64]:
    """(row, module, r_offset) of relocation records of these types in fused modules."""
    r = plan.ns.relocations
    hosted = np.array([m.hosted for m in plan.ns.columns.modules], np.bool_)
    rows = np.flatnonzero(np.isin(r.type, kinds))
    rows = rows[~hosted[r.module[rows]]]
    return rows, r.module[rows], flat("<i8")[r.at[rows]]


def _lead_undefined(plan: Plan, sites: Sites) -> None:
    """Calls of functions that nobody defines end the program with a sentence (--allow-unresolved)."""
    from rtld.frozen.startup import label

    ns = plan.ns
    r, b = ns.relocations, ns.bindings
    if not plan.undefined:
        return
    numbers = {(m.index, name): i for i, (m, name) in enumerate(plan.undefined)}
    rows, module, offset = _rows(plan, ns.arch.reloc_types.jump_slot)
    for row, owner, place in zip(rows.tolist(), module.tolist(), offset.tolist(), strict=True):
        reference = int(r.reference[row])
        if reference >= 0 and b.kind[reference] == UNDEFINED:
            number = numbers[owner, b.name(reference)]
            sites.words[sites.shift[owner] + place] = label(plan, f"undefined {number}")


def _finish_tls(plan: Plan, sites: Sites) -> None:
    ns = plan.ns
    r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
    block = np.array([m.tls_block for m in ns.columns.modules], np.int64)
    rows, module, offset = _rows(plan, types.dtpoff)
    base = np.array([m.base for m in ns.columns.modules], np.int64)
    if len(rows):
        reference = r.reference[rows]
        definer = module.copy()
        if len(b):
            definer = np.where(reference >= 0, b.definer[reference], module)
        known = definer >= 0
        sites.words[(sites.shift[module] + offset)[known]] += block[definer[known]]
    placed = base[module] + offset
    rows, module, offset = _rows(plan, types.dtpmod)
    # The offset beside a module id of one's own is a constant of the file, unless it is relocated itself.
    alone = (r.reference[rows] < 0) & ~np.isin(base[module] + offset + 8, placed)
    module, offset = module[alone], offset[alone]
    sites.words[sites.shift[module] + offset + 8] += block[module]


def _fill_descriptors(plan: Plan, sites: Sites) -> list[int]:
    """TLS descriptors: (resolver, argument). Returns the addresses of the resolvers' words."""
    from rtld.frozen.startup import label

    places = []
    for descriptor in plan.ns.descriptors:
        offset = descriptor.offset
        name = "tlsdesc_undefweak" if offset is None else "tlsdesc_static"
        at = descriptor.site
        sites.words[at] = label(plan, name)
        sites.words[at + 8] = descriptor.addend + (offset or 0)
        places.append(descriptor.place)
    return places


def _words(plan: Plan) -> I64:
    """Addresses of all words that hold an address of the image, ascending."""
    ns = plan.ns
    parts: list[I64] = []
    for module in plan.fused:
        table = tables(module.file)
        for run in table.relocs:
            if run.relative:
                view = flat("<i8")[
                    run.position : run.position + (run.relative - 1) * run.entsize + 1 : run.entsize
                ]
                parts.append(view + module.base)
        if table.relr is not None and len(table.relr):
            parts.append(table.relr.astype(np.int64) + module.base)
    types, b, r = ns.arch.reloc_types, ns.bindings, ns.relocations
    base = np.array([m.base for m in ns.columns.modules], np.int64)
    rows, owner, offset = _rows(plan, types.symbolic, types.glob_dat, types.jump_slot)
    reference = r.reference[rows]
    moving = np.ones(len(rows), np.bool_)
    if len(b):
        definer = np.maximum(b.definer, 0)
        at = ns.columns.symbol_position(definer, b.definition)
        _info, _other, section = ns.columns.meta(at)
        fixed = (b.definer < 0) | (section == t.SHN_ABS)
        moving = (reference < 0) | ~fixed[reference]
    parts.append((base[owner] + offset)[moving])
    _relative, owner, offset = _rows(plan, types.relative)
    parts.append(base[owner] + offset)
    odd, owner, _offset = _rows(plan, 10, 2)
    if len(odd):
        kind = ns.arch.relocs[int(r.type[odd[0]])].name
        raise Unsupported(
            f"{ns.columns.modules[int(owner[0])].path}: {kind} cannot be position-independent",
            "leave out --pie",
        )
    result = np.concatenate(parts)
    waiting = [i.place for i in ns.ifuncs] + [
        ns.columns.modules[m].base + o for _s, m, o, _a in plan.imports.moved
    ]
    return result[~np.isin(result, np.array(waiting, np.int64))] if waiting else result


def _copy_open_words(plan: Plan) -> None:
    """What COPY copied from a fused library may hold words that wait: their copies wait, too."""
    for copy in plan.ns.copies:
        source = copy.definer.base + copy.source
        shift = copy.module.base + copy.place - source
        end = source + copy.size
        plan.moves += [(s, p + shift, a) for s, p, a in plan.moves if source <= p < end]
        if plan.words is not None and copy.definer.image is not None:
            inside = plan.words[(plan.words >= source) & (plan.words < end)]
            plan.words = np.concatenate([plan.words, inside + shift])


def _refuse_in_tls(plan: Plan) -> None:
    ranges = []
    for module in plan.ns.tls.modules:
        segment = module.file.segment(t.PT_TLS)
        ranges.append(
            (module.base + segment.vaddr, module.base + segment.vaddr + segment.filesz, module)
        )
    for place in [row[0] for row in plan.resolved] + [row[1] for row in plan.moves]:
        for begin, end, module in ranges:
            if begin <= place < end:
                raise Unsupported(
                    f"{module.path}: the initial value of a thread-local variable at {place - module.base:#x} "
                    "is known only when the program runs", f"--keep {module.soname or module.path}"
                )  # fmt: skip


def tls_image(plan: Plan) -> tuple[bytes, list[int]]:
    """The initial image of the merged block, and the offsets in it of words that hold an address (PIE)."""
    out = bytearray(plan.ns.tls.size)
    words: list[int] = []
    stored = 0
    for module in plan.ns.tls.modules:
        segment = module.file.segment(t.PT_TLS)
        data = read_memory(module, segment.vaddr, segment.filesz) if segment.filesz else b""
        out[module.tls_block : module.tls_block + segment.filesz] = bytes(data)
        if segment.filesz:
            stored = max(stored, module.tls_block + segment.filesz)
        if plan.words is not None:
            begin = module.base + segment.vaddr
            inside = plan.words[(plan.words >= begin) & (plan.words < begin + segment.filesz)]
            words += (inside - begin + module.tls_block).tolist()
    return bytes(out[:stored]), words


def image_size(plan: Plan) -> int:
    """Bytes from the first address to the last, whole pages."""
    return page_up(plan.end) - plan.base

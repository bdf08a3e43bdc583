"""Images, and the relocations that fill them in: RELATIVE, symbolic, TLS, COPY; what needs the target is put aside.

All images are slices of one arena, so that each step is one numpy expression over all modules. Only the segments that
relocation can change are filled from the file; the rest of a module is its file's own bytes.
"""

from __future__ import annotations

import mmap
from collections import namedtuple

import numpy as np

from rtld.core.image import Image
from rtld.core.module import Problem
from rtld.core.reloc import Action, apply, read_addends
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.elf.resolve import UNDEFINED, WEAK_UNDEFINED
from rtld.elf.tables import tables
from rtld.errors import NoSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import Segment
    from rtld.elf.flat import I64, U64, Bool
    from rtld.elf.resolve import Bindings, Relocations

_PAGE = 4096

#: A place whose value a resolver in the target gives: module, site in the arena, resolver's address, addend, PLT use.
Ifunc = namedtuple("Ifunc", "module site place resolver addend is_slot")
#: A COPY relocation: place's module and vaddr, definer, vaddr there, bytes.
Copy = namedtuple("Copy", "module place definer source size")
#: A TLS descriptor: site of its two words, offset from the thread pointer (or None: undefined weak), addend.
Descriptor = namedtuple("Descriptor", "module site place offset addend")



def build_images(ns: Namespace, modules: Sequence[Module]) -> None:
    """One array for each module, all in one anonymous mapping, filled from the files' writable segments."""
    parts = [(module, _image_segments(module)) for module in modules]
    ranges = []
    total = 0
    for _module, segments in parts:
        low = segments[0].vaddr & -_PAGE if segments else 0
        high = page_up(segments[-1].vaddr + segments[-1].memsz) if segments else 0
        ranges.append((low, total, high - low))
        total += high - low
    ns.arena = _allocate(max(total, _PAGE))
    for (module, segments), (low, start, size) in zip(parts, ranges, strict=True):
        module.image = Image(ns.arena[start : start + size], low, module.base, start, segments)
        for load in segments:
            if load.filesz:
                source = np.frombuffer(module.file.data, np.uint8, load.filesz, load.offset)
                module.image.view(load.vaddr, load.filesz)[:] = source


def _image_segments(module: Module) -> tuple[Segment, ...]:
    loads = module.file.loads
    if has_text_relocations(module):
        return tuple(loads)
    writable = [i for i, load in enumerate(loads) if load.flags & t.PF_W]
    # What stands between two writable segments is in the array too, so it has to be right.
    return tuple(loads[writable[0] : writable[-1] + 1]) if writable else ()


def has_text_relocations(module: Module) -> bool:
    """DT_TEXTREL or DF_TEXTREL: relocations may lie in segments that are not writable."""
    dynamic = module.file.dynamic
    return dynamic is not None and (t.DT_TEXTREL in dynamic or bool(module.file.dt_flags & t.DF_TEXTREL))


def _allocate(size: int) -> Any:
    # NORESERVE: a large bss costs nothing until it is written.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    try:
        memory = mmap.mmap(-1, size, flags=flags)
    except (OSError, OverflowError, ValueError) as error:
        raise NoSpace(f"the writable segments need {size:#x} bytes: {error}") from None
    return np.frombuffer(memory, np.uint8)


class Places:
    """From p_vaddr of a module to a site in the arena, checked, for whole columns."""

    def __init__(self, ns: Namespace) -> None:
        self.ns = ns
        self.modules = ns.columns.modules
        images = [module.image for module in self.modules]
        # A module without an image has an empty range: none of its places is inside.
        self.shift = np.array([i.start - i.low if i else 0 for i in images], np.int64)
        self.low = np.array([i.low if i else 1 for i in images], np.int64)
        self.high = np.array([i.high if i else 0 for i in images], np.int64)

    def sites(self, module: I64, offset: I64) -> tuple[I64, Bool]:
        """Sites of the places at p_vaddr ``offset``, and which of them lie in their image.

        Those that do not are told as problems: ld.so would be stopped by the page's protection.
        """
        inside = (offset >= self.low[module]) & (offset < self.high[module])
        for row in np.flatnonzero(~inside).tolist():
            owner = self.modules[int(module[row])]
            place = int(offset[row])
            if not any(load.vaddr <= place < load.vaddr + load.memsz for load in owner.file.loads):
                raise owner.file.fail("relocation", "r_offset", place, "a place inside a PT_LOAD")
            if all(p.module != owner.path or p.kind != "text relocation" for p in self.ns.problems):
                message = f"{owner.path}: a relocation in a read-only segment ({place:#x}) without DT_TEXTREL"
                self.ns.problems.append(Problem("text relocation", owner.path, hex(place), message))
        return self.shift[module] + offset, inside


def relocate_relative(ns: Namespace, modules: Sequence[Module]) -> None:
    """Add the load bias to every word that DT_RELACOUNT or DT_RELR promises: three relocations in four."""
    word = 8 if ns.columns.wide else 4
    order = ns.columns.order
    unsigned = np.dtype(f"{order}u{word}")
    for module in modules:
        table = tables(module.file)
        image = module.image
        base = np.uint64(module.base) if word == 8 else np.uint32(module.base & 0xFFFFFFFF)
        count = 0
        for run in table.relocs:
            if run.relative:
                columns = 3 if run.is_rela else 2
                view = flat(unsigned.str)[run.position : run.position + (columns * run.relative - 1) * word + 1 : word]
                rows = view.reshape(-1, columns)
                values = rows[:, 2] if run.is_rela else None
                count += _add_base(module, image, rows[:, 0], values, base, unsigned)
        if table.relr is not None and len(table.relr):
            count += _add_base(module, image, table.relr, None, base, unsigned)
        if count:
            name = ns.arch.relocs[ns.arch.reloc_types.relative].name
            ns.counts.setdefault(module, {})[name] = count


def _add_base(module: Module, image: Image, offsets: Any, addends: Any, base: Any, dtype: Any) -> int:
    """Store base + addend (or base + what stands there) at ``offsets`` (p_vaddr) of the image."""
    word = dtype.itemsize
    low, size = image.low, len(image.bytes)
    top, bottom = int(offsets.max()), int(offsets.min())
    if bottom < low or top + word > low + size:
        where = top if bottom >= low else bottom
        raise module.file.fail("relocation", "r_offset", where, "a place inside a writable PT_LOAD")
    sites = offsets.astype(np.int64)
    sites -= low
    if (sites & (word - 1)).any():
        words: NDArray[Any] = np.ndarray((size - word + 1,), dtype, image.bytes, strides=(1,))
    else:
        words = image.bytes[: size // word * word].view(dtype)
        sites >>= word.bit_length() - 1
    if addends is None:
        words[sites] = words[sites] + base
    else:
        words[sites] = addends + base
    return len(sites)


class Terms:
    """The psABI's letters as columns over a set of relocation rows."""

    def __init__(self, ns: Namespace, r: Relocations, b: Bindings) -> None:
        self.ns, self.r, self.b = ns, r, b
        modules = ns.columns.modules
        columns = ns.columns
        self.base = np.array([m.base & 0xFFFFFFFFFFFFFFFF for m in modules], np.uint64)
        self.tls_id = np.array([m.tls_id for m in modules], np.uint64)
        self.tls_offset = np.array([m.tls_offset for m in modules], np.int64).astype(np.uint64)
        found = b.definer >= 0
        module = np.where(found, b.definer, 0)
        at = columns.symbol_position(module, np.where(found, b.definition, 0))
        info, other, section = columns.meta(at)
        value = np.where(found, columns.value(at), 0)
        self.stt = np.where(found, info & np.uint32(15), 0)
        self.size = np.where(found, columns.size(at), 0).astype(np.uint64)
        bias = np.where(found & (section != t.SHN_ABS) & (self.stt != t.STT_TLS), self.base[module], 0)
        self.symbol_value = value + bias.astype(np.uint64)
        self.tls_value = value.astype(np.uint64)
        self.definer = b.definer
        self.ifunc = (self.stt == t.STT_GNU_IFUNC) & (section != t.SHN_UNDEF)
        self.other = other

    def env(self, rows: I64, place: U64, addend: I64) -> dict[str, Any]:
        """name of a term -> its column over ``rows`` (lazily: only what a formula mentions is computed)."""
        r = self.r
        reference = r.reference[rows]
        module = r.module[rows]
        known = reference >= 0
        # Symbol 0 in a TLS relocation means the module itself.
        definer = np.where(known, self.definer[reference], module) if len(self.definer) else module

        def pick(column: Any, bias: bool = False) -> Callable[[I64], Any]:
            def of(chosen: I64) -> Any:
                # Symbol 0 stands for the module itself: its value is the load bias.
                none: Any = self.base[module[chosen]] if bias else np.uint64(0)
                if not len(column):
                    return np.broadcast_to(none, len(chosen))
                return np.where(known[chosen], column[reference[chosen]], none)

            return of

        def of_definer(column: Any) -> Callable[[I64], Any]:
            def of(chosen: I64) -> Any:
                who = definer[chosen]
                return np.where(who >= 0, column[who], 0).astype(np.uint64)

            return of

        env: dict[str, Any] = {
            "S": pick(self.symbol_value, bias=True),
            "Z": pick(self.size),
            "T": pick(self.tls_value),
            "A": addend.astype(np.uint64),
            "P": place,
            "B": lambda chosen: self.base[module[chosen]],
            "M": of_definer(self.tls_id),
            "TP": of_definer(self.tls_offset),
        }
        if self.ns.arch.local_entry is not None:
            table = np.array([self.ns.arch.local_entry(i) for i in range(256)], np.uint64)
            env["L"] = pick(table[self.other])
        return env


def relocate_symbolic(ns: Namespace, modules: Sequence[Module], r: Relocations, b: Bindings) -> None:
    """Symbolic and TLS relocations of *modules*; IFUNCs, COPYs and descriptors are listed for later passes."""
    columns = ns.columns
    wanted = np.array([m in set(modules) for m in columns.modules], np.bool_)
    rows = np.flatnonzero(wanted[r.module] & (r.type >= 0)) if len(r.type) else np.empty(0, np.int64)
    if not len(rows):
        return
    word = 8 if columns.wide else 4
    view = flat(f"{columns.order}u{word}")
    at, module, kind = r.at[rows], r.module[rows], r.type[rows]
    offset = view[at].astype(np.int64)
    places = Places(ns)
    live = kind != ns.arch.reloc_types.none
    rows, at, module, kind, offset = rows[live], at[live], module[live], kind[live], offset[live]
    sites, inside = places.sites(module, offset)
    if not inside.all():
        rows, at, module, kind = rows[inside], at[inside], module[inside], kind[inside]
        offset, sites = offset[inside], sites[inside]
    is_rela = r.is_rela[rows]
    addend = np.zeros(len(rows), np.int64)
    if is_rela.any():
        which = np.flatnonzero(is_rela)
        addend[which] = flat(f"{columns.order}i{word}")[at[which] + 2 * word]

    def describe(index: int) -> str:
        return f"{columns.modules[int(module[index])].path}: {int(offset[index]):#x}"

    if not is_rela.all():
        which = np.flatnonzero(~is_rela)
        addend[which] = read_addends(
            ns.arch.relocs, kind[which], sites[which], ns.arena, columns.order, describe=lambda i: describe(int(which[i]))
        )
    terms = Terms(ns, r, b)
    if ns.arch.implicit_got is not None:
        from rtld.elf.mips import relocate_got

        relocate_got(ns, modules, r, terms)
    place = offset.astype(np.uint64) + terms.base[module]
    reference = r.reference[rows]
    late = np.zeros(len(rows), np.bool_)
    if len(terms.ifunc):
        needs = np.array([number in ns.arch.relocs and _uses_symbol(ns.arch.relocs[number]) for number in range(int(kind.max()) + 1)])
        late = (reference >= 0) & terms.ifunc[reference] & needs[kind]
    lazy = np.zeros(len(rows), np.bool_)
    if ns.lazy and ns.arch.reloc_types.jump_slot is not None:
        lazy = (kind == ns.arch.reloc_types.jump_slot) & ~_bind_now(columns.modules)[module]
        _prepare_lazy(ns, sites[lazy], terms.base[module[lazy]], word)
    missing = np.zeros(len(rows), np.bool_)
    if len(b):
        missing = (reference >= 0) & (b.kind[reference] == UNDEFINED)
    now = np.flatnonzero(~late & ~lazy & ~missing)
    env = terms.env(rows[now], place[now], addend[now])
    done = apply(
        ns.arch.relocs, kind[now], sites[now], env, ns.arena, columns.order,
        store=(Action.STORE, Action.JUMP_SLOT), describe=lambda i: describe(int(now[i])),
    )  # fmt: skip
    _count(ns, module, kind)
    left = {action: now[index] for action, index in done.left.items()}
    for i in np.flatnonzero(late & ~lazy).tolist():
        resolver = int(terms.symbol_value[reference[i]])
        slot = int(kind[i]) == ns.arch.reloc_types.jump_slot
        extra = int(addend[i]) if "A" in {name for name, _ in ns.arch.relocs[int(kind[i])].value.terms} else 0
        ns.ifuncs.append(Ifunc(columns.modules[int(module[i])], int(sites[i]), int(place[i]), resolver, extra, slot))
    for i in left.get(Action.IFUNC, np.empty(0, np.int64)).tolist():
        owner = columns.modules[int(module[i])]
        resolver = (owner.base + int(addend[i])) & ((1 << (8 * word)) - 1)
        ns.ifuncs.append(Ifunc(owner, int(sites[i]), int(place[i]), resolver, 0, True))
    for i in left.get(Action.COPY, np.empty(0, np.int64)).tolist():
        _note_copy(ns, columns.modules[int(module[i])], int(offset[i]), int(reference[i]), terms, b)
    for i in left.get(Action.TLSDESC, np.empty(0, np.int64)).tolist():
        owner = columns.modules[int(module[i])]
        ref = int(reference[i])
        definer = int(b.definer[ref]) if ref >= 0 else int(module[i])
        value = int(terms.tls_value[ref]) if ref >= 0 else 0
        block = None if definer < 0 else columns.modules[definer].tls_offset + value
        ns.descriptors.append(Descriptor(owner, int(sites[i]), int(place[i]), block, int(addend[i])))


def _uses_symbol(row: Any) -> bool:
    return any(name == "S" for name, _ in row.value.terms) and row.action != Action.COPY


def _bind_now(modules: Sequence[Module]) -> NDArray[np.bool_]:
    return np.array([binds_now(module) for module in modules], np.bool_)


def binds_now(module: Module) -> bool:
    """DT_BIND_NOW, DF_BIND_NOW or DF_1_NOW: the module wants no lazy binding."""
    file = module.file
    return t.DT_BIND_NOW in file.dynamic or bool(file.dt_flags & t.DF_BIND_NOW or file.dt_flags_1 & t.DF_1_NOW)


def _prepare_lazy(ns: Namespace, sites: I64, base: U64, word: int) -> None:
    """A lazy slot holds the link-time address of its PLT entry: add the load bias."""
    words = np.ndarray((len(ns.arena) - word + 1,), f"{ns.columns.order}u{word}", ns.arena, strides=(1,))
    words[sites] = words[sites] + base.astype(words.dtype)


def _count(ns: Namespace, module: I64, kind: I64) -> None:
    width = int(kind.max()) + 1
    table = np.bincount(module * width + kind, minlength=width * len(ns.columns.modules)).reshape(-1, width)
    for number, kinds in zip(*np.nonzero(table), strict=True):
        counts = ns.counts.setdefault(ns.columns.modules[int(number)], {})
        name = ns.arch.relocs[int(kinds)].name
        counts[name] = counts.get(name, 0) + int(table[number, kinds])


def _note_copy(ns: Namespace, module: Module, place: int, reference: int, terms: Terms, b: Bindings) -> None:
    definer = int(b.definer[reference])
    if definer < 0:
        if int(b.kind[reference]) == WEAK_UNDEFINED:
            return
        return
    columns = ns.columns
    own = columns.symbol_position(np.array([b.referrer[reference]]), np.array([b.symbol[reference]]))
    theirs = columns.symbol_position(np.array([definer]), np.array([b.definition[reference]]))
    size, available = int(columns.size(own)[0]), int(columns.size(theirs)[0])
    source = int(columns.value(theirs)[0])
    if size != available:
        name = b.name(reference)
        message = f"{module.path}: Symbol `{name}' has different size in shared object, consider re-linking"
        ns.problems.append(Problem("copy size", module.path, name, message, fatal=False))
    ns.copies.append(Copy(module, place, columns.modules[definer], source, min(size, available)))


def relocate_copies(ns: Namespace) -> None:
    """COPY last, when what is copied has its final value. Sources outside our images are the back end's to fill."""
    for copy in ns.copies:
        if copy.size and copy.definer.image is not None:
            target = copy.module.image.view(copy.place, copy.size)
            if len(target) < copy.size:
                raise copy.module.file.fail("COPY", "r_offset + st_size", copy.place + copy.size, "inside a PT_LOAD")
            target[:] = read_memory(copy.definer, copy.source, copy.size)


def read_memory(module: Module, vaddr: int, size: int) -> NDArray[np.uint8]:
    """Bytes [vaddr, vaddr + size) of a module as they are after relocation."""
    image = module.image
    if image is not None and image.low <= vaddr and vaddr + size <= image.high:
        view: NDArray[np.uint8] = image.view(vaddr, size)
        return view
    for load in module.file.loads:
        if load.vaddr <= vaddr and vaddr + size <= load.vaddr + load.memsz:
            begin = vaddr - load.vaddr
            stored = np.frombuffer(module.file.data[load.offset : load.offset + load.filesz], np.uint8)[begin : begin + size]
            return np.concatenate([stored, np.zeros(size - len(stored), np.uint8)])
    raise module.file.fail("symbol", "st_value, st_size", f"{vaddr:#x}+{size:#x}", "inside a PT_LOAD")

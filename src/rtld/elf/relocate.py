"""The relocations that fill the images in: symbolic, TLS, COPY; what needs the target is put aside.

All images are slices of one arena (images.py), so that each step is one numpy expression over all modules.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from rtld.core.module import Problem
from rtld.core.reloc import Action, apply, read_addends
from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.elf.load import binds_now
from rtld.elf.resolve import UNDEFINED
from rtld.elf.waiting import Copy, Descriptor, Ifunc
from rtld.errors import Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from rtld.core.module import Module, Namespace
    from rtld.elf.flat import I64, U64, Bool
    from rtld.elf.resolve import Bindings, Relocations


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

    def sites(self, module: I64, offset: I64) -> tuple[I64, Bool | None]:
        """Sites of the places at p_vaddr ``offset``, and which of them lie in their image (None: all do).

        ``module`` ascends. Places outside are told as problems: ld.so would be stopped by the page's protection.
        """
        edges = np.searchsorted(module, np.arange(len(self.modules) + 1))
        runs = np.diff(edges)
        filled = np.flatnonzero(runs)
        lowest = np.minimum.reduceat(offset, edges[filled])
        highest = np.maximum.reduceat(offset, edges[filled])
        inside: Bool | None = None
        for number in filled[(lowest < self.low[filled]) | (highest >= self.high[filled])].tolist():
            if inside is None:
                inside = np.ones(len(offset), np.bool_)
            run = slice(edges[number], edges[number + 1])
            inside[run] = self._inside(number, offset[run])
        return offset + np.repeat(self.shift, runs), inside

    def _inside(self, number: int, offset: I64) -> Bool:
        owner = self.modules[number]
        inside: Bool = (offset >= self.low[number]) & (offset < self.high[number])
        rest = offset[~inside]
        loaded = np.zeros(len(rest), np.bool_)
        for load in owner.file.loads:
            loaded |= (rest >= load.vaddr) & (rest < load.vaddr + load.memsz)
        if not loaded.all():
            place = int(rest[~loaded][0])
            raise owner.file.fail("relocation", "r_offset", place, "a place inside a PT_LOAD")
        place = int(rest[0])
        message = (
            f"{owner.path}: a relocation in a read-only segment ({place:#x}) without DT_TEXTREL"
        )
        self.ns.problems.append(Problem("text relocation", owner.path, hex(place), message))
        return inside


class Rows:
    """Relocation records being worked on, as columns: what each record says, and where its place is in the arena."""

    __slots__ = ("addend", "at", "is_rela", "module", "offset", "reference", "site", "type")

    at: I64
    module: I64
    type: I64
    offset: I64
    site: I64
    addend: I64
    reference: I64
    is_rela: Bool

    def keep(self, which: Bool) -> None:
        """Drop the rows that are not in ``which``; copies nothing when all are."""
        if not which.all():
            for name in self.__slots__:
                column = getattr(self, name, None)
                if column is not None:
                    setattr(self, name, column[which])


class Terms:
    """The psABI's letters as columns over relocation rows; only what a formula mentions is computed."""

    def __init__(self, ns: Namespace, b: Bindings) -> None:
        self.ns = ns
        columns = ns.columns
        modules = columns.modules
        self.base = np.array([m.base & 0xFFFFFFFFFFFFFFFF for m in modules], np.uint64)
        self.tls_id = np.array([m.tls_id for m in modules], np.uint64)
        self.tls_offset = np.array([m.tls_offset for m in modules], np.int64).astype(np.uint64)
        found = b.definer >= 0
        module = np.maximum(b.definer, 0)
        at = columns.symbol_position(module, b.definition)
        info, self.other, section = columns.meta(at)
        # For references without a definition the row of symbol 0 was read; make it all zero.
        self.symbol = at
        self.found = found
        stt = info & np.uint32(15)
        self.ifunc = found & (stt == t.STT_GNU_IFUNC) & (section != t.SHN_UNDEF)
        self.tls_value = columns.value(at) * found
        biased = found & (section != t.SHN_ABS) & (stt != t.STT_TLS)
        self.symbol_value = self.tls_value + self.base[module] * biased
        if ns.substitutes is not None:
            rows, addresses = ns.substitutes
            self.symbol_value[rows] = addresses
            self.ifunc[rows] = False
        self.definer = b.definer

    def env(self, rows: Rows) -> dict[str, Any]:
        """name of a term -> function from an array of row numbers to the term's values."""
        reference, module = rows.reference, rows.module
        everywhere = bool(len(reference)) and int(reference.min()) >= 0

        def pick(column: Any, none: Any) -> Callable[[I64], Any]:
            def of(chosen: I64) -> Any:
                ref = reference[chosen]
                if everywhere or (len(ref) and int(ref.min()) >= 0):
                    return column[ref]
                if not len(column):
                    return np.broadcast_to(none(chosen), len(chosen))
                return np.where(ref >= 0, column[ref], none(chosen))

            return of

        def base(chosen: I64) -> Any:
            return self.base[module[chosen]]

        def definer(column: Any) -> Callable[[I64], Any]:
            def of(chosen: I64) -> Any:
                who = self.definers(reference[chosen], module[chosen])
                return np.where(who >= 0, column[who], 0).astype(np.uint64)

            return of

        def zero(_chosen: I64) -> Any:
            return np.uint64(0)

        def size(chosen: I64) -> Any:
            # Rare: the column is made when a formula asks for it.
            return pick(self.ns.columns.size(self.symbol) * self.found, zero)(chosen)

        env: dict[str, Any] = {
            # Symbol 0 stands for the module itself: its value is the load bias.
            "S": pick(self.symbol_value, base),
            "T": pick(self.tls_value, zero),
            "A": rows.addend.view(np.uint64),
            "P": lambda chosen: rows.offset[chosen].view(np.uint64) + self.base[module[chosen]],
            "B": base,
            "M": definer(self.tls_id),
            "TP": definer(self.tls_offset),
            "Z": size,
        }
        if self.ns.arch.local_entry is not None:
            env["L"] = lambda chosen: self._local_entry(reference[chosen], module[chosen])
        return env

    def definers(self, reference: I64, module: I64) -> I64:
        """Whose definitions the references are, -1 for nobody's; symbol 0 (-1 here) means the module itself."""
        if not len(self.definer):
            return module
        who: I64 = np.where(reference >= 0, self.definer[reference], module)
        return who

    def _local_entry(self, reference: I64, module: I64) -> U64:
        """PowerPC64: how far behind a function's address a call from its own module goes."""
        from rtld.elf.ppc64 import has_one_toc

        if not len(self.definer):
            return np.zeros(len(reference), np.uint64)
        table = np.array([self.ns.arch.local_entry(i) for i in range(256)], np.uint64)
        own = (reference >= 0) & (self.definer[reference] == module) & ~self.ifunc[reference]
        own &= has_one_toc(self.ns.columns.modules)[module]
        result: U64 = table[self.other[reference]] * own
        return result


def relocate_symbolic(
    ns: Namespace, modules: Sequence[Module], r: Relocations, b: Bindings
) -> None:
    """Symbolic and TLS relocations of *modules*; IFUNCs, COPYs and descriptors are listed for later passes."""
    terms = Terms(ns, b)
    if ns.arch.implicit_got is not None:
        from rtld.elf.mips import relocate_got

        relocate_got(ns, modules, r, terms)
    rows = _place_rows(ns, modules, r)
    if not len(rows.at):
        return
    _read_addends(ns, rows)
    left = b.kind == UNDEFINED
    left[list(ns.told_when_called)] = True
    if left.any():
        # What nobody defines stays as it is in the file; it has been noted as a problem.
        rows.keep(~((rows.reference >= 0) & left[rows.reference]))
    _drop_tls_of_nobody(ns, rows, b)
    if ns.arch.local_entry is not None:
        from rtld.elf.ppc64 import relocate_tls

        relocate_tls(ns, rows, terms)
    if ns.lazy:
        rows.keep(~_leave_lazy(ns, rows, terms))
    if len(rows.at) and terms.ifunc.any():
        _list_ifuncs(ns, rows, terms)
    done = apply(
        ns.arch.relocs, rows.type, rows.site, terms.env(rows), ns.arena, ns.columns.order,
        store=(Action.STORE, Action.JUMP_SLOT), describe=_describe(ns, rows),
    )  # fmt: skip
    _put_aside(ns, rows, done.left, terms, b)


def _place_rows(ns: Namespace, modules: Sequence[Module], r: Relocations) -> Rows:
    """The records of *modules*, but for NONE, with their places."""
    rows = Rows()
    chosen = set(modules)
    wanted = np.array([m in chosen for m in ns.columns.modules], np.bool_)
    rows.at, rows.module, rows.type = r.at, r.module, r.type
    rows.reference, rows.is_rela = r.reference, r.is_rela
    if not wanted.all() or ns.arch.implicit_got is not None:
        rows.keep(wanted[r.module] & (r.type >= 0))
    if not len(rows.at):
        return rows
    none = ns.arch.reloc_types.none
    if _count(ns, rows.module, rows.type)[:, none].any():
        rows.keep(rows.type != none)
    word = 8 if ns.columns.wide else 4
    rows.offset = flat(f"{ns.columns.order}u{word}")[rows.at].astype(np.int64, copy=False)
    if len(rows.at):
        rows.site, inside = Places(ns).sites(rows.module, rows.offset)
        if inside is not None:
            rows.keep(inside)
    return rows


def _count(ns: Namespace, module: I64, kind: I64) -> Any:
    """How many relocations of each type every module has: table[module, type]. All types are known ones."""
    width = max(ns.arch.relocs) + 1
    if int(kind.max()) >= width:
        # Nothing may be sized or indexed by a number that is not in the table.
        _fail_unknown(ns, module, kind, int(np.argmax(kind)))
    table = np.bincount(module * width + kind, minlength=width * len(ns.columns.modules))
    table = table.reshape(-1, width)
    for number, which in zip(*[axis.tolist() for axis in np.nonzero(table)], strict=True):
        if which not in ns.arch.relocs:
            _fail_unknown(ns, module, kind, int(np.argmax((module == number) & (kind == which))))
        counts = ns.counts.setdefault(ns.columns.modules[number], {})
        name = ns.arch.relocs[which].name
        counts[name] = counts.get(name, 0) + int(table[number, which])
    return table


def _fail_unknown(ns: Namespace, module: I64, kind: I64, row: int) -> None:
    where = ns.columns.modules[int(module[row])].path
    raise Unknown(where, f"relocation type {int(kind[row])} is not in the table of {ns.arch.name}")


def _describe(ns: Namespace, rows: Rows) -> Callable[[int], str]:
    return lambda i: f"{ns.columns.modules[int(rows.module[i])].path}: {int(rows.offset[i]):#x}"


def _read_addends(ns: Namespace, rows: Rows) -> None:
    order = ns.columns.order
    word = 8 if ns.columns.wide else 4
    view = flat(f"{order}i{word}")
    if rows.is_rela.all():
        rows.addend = view[rows.at + 2 * word].astype(np.int64, copy=False)
        return
    describe = _describe(ns, rows)
    rows.addend = read_addends(
        ns.arch.relocs, rows.type, rows.site, ns.arena, order, describe=describe
    )
    if rows.is_rela.any():
        which = np.flatnonzero(rows.is_rela)
        rows.addend[which] = view[rows.at[which] + 2 * word]


def _leave_lazy(ns: Namespace, rows: Rows, terms: Terms) -> Bool:
    """Which rows are slots left to the first call. Such a slot holds its PLT entry's link-time address: add the bias."""
    slot = ns.arch.reloc_types.jump_slot
    lazy = (rows.type == slot) & ~np.array([binds_now(m) for m in ns.columns.modules], np.bool_)[
        rows.module
    ]
    word = 8 if ns.columns.wide else 4
    words = np.ndarray(
        (len(ns.arena) - word + 1,), f"{ns.columns.order}u{word}", ns.arena, strides=(1,)
    )
    sites = rows.site[lazy]
    words[sites] = words[sites] + terms.base[rows.module[lazy]].astype(words.dtype)
    result: Bool = lazy
    return result


def _drop_tls_of_nobody(ns: Namespace, rows: Rows, b: Bindings) -> None:
    """Drop rows that want a thread-local variable nobody defines (a weak one): such a place is left as it is."""
    table = ns.arch.relocs
    kinds = np.zeros(max(table) + 1, np.bool_)
    for number, row in table.items():
        kinds[number] = row.action == Action.STORE and bool({"T", "M", "TP"} & set(row.value.names))
    which = np.flatnonzero(kinds[rows.type])
    which = which[rows.reference[which] >= 0]
    nobody = which[b.definer[rows.reference[which]] < 0]
    if len(nobody):
        rest = np.ones(len(rows.type), np.bool_)
        rest[nobody] = False
        rows.keep(rest)


def _list_ifuncs(ns: Namespace, rows: Rows, terms: Terms) -> None:
    """List the rows that take the address of an IFUNC: until the target has run its resolver they hold the resolver."""
    top = int(rows.type.max()) + 1
    table = ns.arch.relocs
    uses = np.array([i in table and _uses_symbol(table[i]) for i in range(top)], np.bool_)
    # A row without a symbol has reference -1, which reads the last one's flag; it is sorted out among the few hits.
    which = np.flatnonzero(terms.ifunc[rows.reference])
    which = which[(rows.reference[which] >= 0) & uses[rows.type[which]]]
    if not len(which):
        return
    kind, module = rows.type[which], rows.module[which]
    has_addend = np.array(
        [i in table and "A" in table[i].value.names for i in range(top)], np.bool_
    )
    columns = (
        rows.site[which],
        terms.base[module] + rows.offset[which].astype(np.uint64),
        terms.symbol_value[rows.reference[which]],
        rows.addend[which] * has_addend[kind],
        kind == ns.arch.reloc_types.jump_slot,
    )
    modules = ns.columns.modules
    owners = [modules[number] for number in module.tolist()]
    ns.ifuncs.extend(map(Ifunc, owners, *[column.tolist() for column in columns]))


def _put_aside(ns: Namespace, rows: Rows, left: dict[str, Any], terms: Terms, b: Bindings) -> None:
    """List what the engine left: IRELATIVE, COPY, TLS descriptors."""
    mask = (1 << ns.arch.bits) - 1
    for action, indices in left.items():
        for i in indices.tolist():
            owner = ns.columns.modules[int(rows.module[i])]
            site, offset, addend = int(rows.site[i]), int(rows.offset[i]), int(rows.addend[i])
            ref = int(rows.reference[i])
            if action == Action.IFUNC:
                ns.ifuncs.append(
                    Ifunc(owner, site, owner.base + offset, (owner.base + addend) & mask, 0, True)
                )
            elif action == Action.COPY:
                _note_copy(ns, owner, offset, ref, b)
            elif action == Action.TLSDESC:
                definer = int(b.definer[ref]) if ref >= 0 else int(rows.module[i])
                value = int(terms.tls_value[ref]) if ref >= 0 else 0
                if addend < 0 and ns.arch.machine == t.EM_ARM:
                    # Bit 31: the number of the symbol, for binding it lazily, stands where an addend would.
                    addend = 0
                block = None if definer < 0 else ns.columns.modules[definer].tls_offset + value
                ns.descriptors.append(Descriptor(owner, site, owner.base + offset, block, addend))


def _uses_symbol(row: Any) -> bool:
    return "S" in row.value.names and row.action != Action.COPY


def _note_copy(ns: Namespace, module: Module, place: int, reference: int, b: Bindings) -> None:
    definer = int(b.definer[reference])
    if definer < 0:
        return  # an undefined weak reference: nothing to copy
    columns = ns.columns
    own = columns.symbol_position(
        np.array([b.referrer[reference]]), np.array([b.symbol[reference]])
    )
    theirs = columns.symbol_position(np.array([definer]), np.array([b.definition[reference]]))
    size, available = int(columns.size(own)[0]), int(columns.size(theirs)[0])
    source = int(columns.value(theirs)[0])
    ns.copies.append(Copy(module, place, columns.modules[definer], source, min(size, available)))


def relocate_copies(ns: Namespace) -> None:
    """COPY last, when what is copied has its final value. Sources outside our images are the back end's to fill."""
    for copy in ns.copies:
        if copy.size and copy.definer.image is not None:
            target = copy.module.image.view(copy.place, copy.size)
            if len(target) < copy.size:
                raise copy.module.file.fail(
                    "COPY", "r_offset + st_size", copy.place + copy.size, "inside a PT_LOAD"
                )
            target[:] = read_memory(copy.definer, copy.source, copy.size)
    _copy_ifuncs(ns)


def _copy_ifuncs(ns: Namespace) -> None:
    """A word copied before its IFUNC's resolver has run waits for the resolver too."""
    if not ns.copies or not ns.ifuncs:
        return
    waiting = sorted(ns.ifuncs, key=lambda ifunc: ifunc.place)
    places = [ifunc.place for ifunc in waiting]
    for copy in ns.copies:
        source = copy.definer.base + copy.source
        for ifunc in waiting[bisect_left(places, source) : bisect_left(places, source + copy.size)]:
            vaddr = copy.place + ifunc.place - source
            image = copy.module.image
            site = image.start + vaddr - image.low
            ns.ifuncs.append(
                ifunc._replace(
                    module=copy.module, site=site, place=copy.module.base + vaddr, is_slot=False
                )
            )


def read_memory(module: Module, vaddr: int, size: int) -> NDArray[np.uint8]:
    """Bytes [vaddr, vaddr + size) of a module as they are after relocation."""
    image = module.image
    if image is not None and image.low <= vaddr and vaddr + size <= image.high:
        view: NDArray[np.uint8] = image.view(vaddr, size)
        return view
    for load in module.file.loads:
        if load.vaddr <= vaddr and vaddr + size <= load.vaddr + load.memsz:
            begin = vaddr - load.vaddr
            stored = np.frombuffer(
                module.file.data[load.offset : load.offset + load.filesz], np.uint8
            )[begin : begin + size]
            return np.concatenate([stored, np.zeros(size - len(stored), np.uint8)])
    raise module.file.fail(
        "symbol", "st_value, st_size", f"{vaddr:#x}+{size:#x}", "inside a PT_LOAD"
    )

"""The passes from binding to images for a small program, in plain Python: importing numpy would cost more than all of them.

Most programs of a system are small: a few hundred references in one module, beside a libc that is loaded already. The
rules are those of ``lookup.py`` and ``resolve.py``, one reference at a time; for files of every class and byte order. Whatever
is out of the ordinary (a symbol nobody defines, STB_GNU_UNIQUE, a protected or DT_SYMBOLIC reference, an unusual relocation
type) makes ``bind_small`` give up, and the column passes do the work. ``tests/elf/test_small.py`` compares the two on real
programs, ``tests/emulated/test_small.py`` on those of other CPUs.
"""

from __future__ import annotations

import struct

from rtld.core.image import Image
from rtld.elf import types as t
from rtld.elf.load import binds_now, image_segments, is_symbolic
from rtld.elf.properties import first_too_new
from rtld.elf.records import GiveUp, Records, form_of, records_with_symbols
from rtld.elf.scalar import Dynsym, dynsym, gnu_hash
from rtld.elf.verneed import defined_versions, needed_versions, version_table
from rtld.elf.waiting import Copy, Ifunc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile

#: Relocations, and look-ups (references times modules of the scope): numpy is quicker above.
_MOST = 6000, 1 << 30
_MOST_EMULATED = 60_000, 60_000


class SmallLink:
    """The bindings of a small program: one (definer, symbol) for each reference (module, symbol, PLT use)."""

    def __init__(
        self,
        ns: Namespace,
        own: Sequence[Module] | None = None,
        scope: Sequence[Module] | None = None,
        most: tuple[int, int] = _MOST,
    ) -> None:
        """*most*: relocations, and look-ups (references times modules of the scope)."""
        self.ns = ns
        self.most, self.lookups = most
        self.types = ns.arch.reloc_types
        self.form = form_of(ns.main.file)
        self.own = [module for module in ns.modules if not module.hosted] if own is None else own
        self.scope = ns.modules if scope is None else scope
        self.records: dict[Module, Records] = {}
        self.answers: dict[tuple[Module, int, bool | str], tuple[Module, int] | None] = {}
        self.ranks = {module: i for i, module in enumerate(ns.relocation_order)}
        self._hidden: dict[Module, dict[int, tuple[bytes, bool]]] = {}

    # -- binding ----------------------------------------------------------------------------------

    def bind(self) -> None:
        """Read the records of our own modules and answer every reference."""
        types = self.types
        plain = {types.symbolic, types.glob_dat, types.jump_slot, types.copy}
        tls = {types.dtpmod, types.dtpoff, types.tpoff}
        known = {types.none, types.relative, types.irelative, *plain, *tls}
        total = 0
        for module in self.own:
            dynamic = module.file.dynamic
            if dynamic is None or is_symbolic(module) or t.DT_TEXTREL in dynamic:
                raise GiveUp
            records = self.records[module] = Records(module.file, types.relative, self.most - total)
            total += len(records)
            rows = records.others
            if not known.issuperset({row[1] for row in rows}):
                raise GiveUp
            self.lookups -= len(self.scope) * len({row[2] for row in rows})
            if self.lookups < 0:
                raise GiveUp
            for _offset, kind, symbol, _addend in rows:
                if symbol:
                    use = "copy" if kind == types.copy else kind == types.jump_slot or kind in tls
                    self.answer(module, symbol, use)

    def answer(self, module: Module, symbol: int, use: bool | str) -> tuple[Module, int] | None:
        """(definer, its symbol) of a reference; None for an undefined weak one. *use*: False, True (PLT) or "copy"."""
        key = (module, symbol, use)
        if key not in self.answers:
            self.answers[key] = self._find(module, symbol, use)
        return self.answers[key]

    def _find(self, module: Module, symbol: int, use: bool | str) -> tuple[Module, int] | None:
        table = self._symbols(module)
        limit = module.file.load_end(table.symtab)
        if table.symtab + self.form.symbol * (symbol + 1) > limit:
            raise GiveUp
        entry = table.symbol(symbol)
        visibility = entry.other & 3
        if entry.info >> 4 == t.STB_LOCAL or visibility in (t.STV_HIDDEN, t.STV_INTERNAL):
            return module, symbol
        if visibility == t.STV_PROTECTED:
            raise GiveUp
        name = table.name(symbol)
        raw = table.version(symbol)
        version, hidden = (
            self._versions(module).get(raw & 0x7FFF, (None, False)) if raw >= 0 else (None, False)
        )
        hashed = gnu_hash(name)
        for definer in self.scope:
            if use == "copy" and definer is self.ns.main:
                continue
            found = self._match(definer, name, hashed, version, hidden, use is True)
            if found:
                theirs = self._symbols(definer).symbol(found)
                if theirs.info >> 4 == t.STB_GNU_UNIQUE:
                    raise GiveUp
                if definer is not module and self._is_told(module, entry, definer, theirs, use):
                    raise GiveUp
                return definer, found
        if entry.info >> 4 != t.STB_WEAK:
            raise GiveUp
        return None

    def _is_told(
        self, module: Module, own: Any, definer: Module, theirs: Any, use: bool | str
    ) -> bool:
        """Would ld.so say something about the reference (notices.py)?"""
        if use == "copy" and own.size != theirs.size:
            return True
        if theirs.other & 3 == t.STV_PROTECTED and module is self.ns.main:
            return use == "copy" or (use is True and own.value != 0)
        if theirs.info & 15 != t.STT_GNU_IFUNC or definer is self.ns.interp:
            return False
        if definer in self.ranks:
            return self.ranks[definer] > self.ranks.get(module, len(self.ranks))
        return (
            definer in self.own
        )  # of a group that is being opened: who comes first is not known here

    def _match(
        self,
        definer: Module,
        name: bytes,
        hashed: int,
        version: bytes | None,
        hidden: bool,
        plt: bool,
    ) -> int:
        """The definition that *definer* offers, or 0 (lookup.py: _accept_glibc, _choose_in_module)."""
        table = self._symbols(definer)
        single, count, chosen = 0, 0, 0
        for index in table.named(name, hashed):
            entry = table.symbol(index)
            kind = entry.info & 15
            if kind not in (0, 1, 2, 5, 6, 10) or (plt and entry.section == t.SHN_UNDEF):
                continue
            if not entry.value and entry.section != t.SHN_ABS and kind != t.STT_TLS:
                continue
            raw = table.version(index)
            own = self._versions(definer).get(raw & 0x7FFF, (None, False))[0]
            if version is not None:
                base = own is None and not hidden and not raw & 0x8000
                if raw >= 0 and own != version and not base:
                    continue
            elif raw >= 0 and raw & 0x7FFF >= 3:
                if not raw & 0x8000:
                    count += 1
                    single = single or index
                continue
            chosen = index
            break
        if not chosen and count == 1:
            chosen = single
        if not chosen:
            return 0
        entry = table.symbol(chosen)
        offered = entry.other & 3 in (t.STV_DEFAULT, t.STV_PROTECTED)
        return (
            chosen
            if offered and entry.info >> 4 in (t.STB_GLOBAL, t.STB_WEAK, t.STB_GNU_UNIQUE)
            else 0
        )

    @staticmethod
    def _symbols(module: Module) -> Dynsym:
        return dynsym(module.file)

    def _versions(self, module: Module) -> dict[int, tuple[bytes, bool]]:
        found = self._hidden.get(module)
        if found is None:
            file = module.file
            found = self._hidden[module] = version_table(
                needed_versions(file), defined_versions(file)
            )
        return found

    # -- images -----------------------------------------------------------------------------------

    def relocate(
        self, *, link_map: Callable[[Module], int], binder: int, lazy: bool = False
    ) -> None:
        """Images of our own modules, complete but for IFUNCs and for copies from hosted modules. *lazy*: PLT slots wait."""
        for module in self.own:
            segments = image_segments(module)
            low = segments[0].vaddr & -4096 if segments else 0
            high = (segments[-1].vaddr + segments[-1].memsz + 4095) & -4096 if segments else 0
            if high - low > 1 << 26:
                raise GiveUp
            image = Image(memoryview(bytearray(high - low)), low, module.base, 0, segments)
            module.image = image
            for load in segments:
                if load.filesz:
                    image.view(load.vaddr, load.filesz)[:] = module.file.contents(load)
        for module in self.own:
            self._relocate_module(module, lazy=lazy and not binds_now(module))
            self._open_slots(module, link_map, binder)
        for copy in self.ns.copies:
            if not copy.definer.hosted:
                copy.module.image.view(copy.place, copy.size)[:] = self._bytes(copy)

    def _bytes(self, copy: Copy) -> Any:
        image = copy.definer.image
        if image.low <= copy.source and copy.source + copy.size <= image.high:
            return bytes(image.view(copy.source, copy.size))
        at = copy.definer.file.file_offset(copy.source, copy.size, "COPY")
        return copy.definer.file.data[at : at + copy.size]

    def _relocate_module(self, module: Module, *, lazy: bool) -> None:
        image, base, types = module.image, module.base, self.types
        word, mask, pack, order = self.form.word, self.form.mask, self.form.pack, self.form.order
        low, high = image.low, image.high
        memory = image.bytes

        def stored(offset: int) -> int:
            return int.from_bytes(memory[offset - low : offset - low + word], order)

        for at in _relr(module.file):
            if not low <= at <= high - word:
                raise GiveUp
            pack(memory, at - low, stored(at) + base & mask)
        end = high - word
        numbered = {row[0] for row in self.records[module].others if row[1] == types.dtpoff}
        for offset, addend in self.records[module].relative:
            if not low <= offset <= end:
                raise GiveUp
            pack(memory, offset - low, base + (stored(offset) if addend is None else addend) & mask)
        for offset, kind, symbol, addend in self.records[module].others:
            if kind == types.none:
                continue
            if not low <= offset <= high - word:
                raise GiveUp
            if addend is None:
                addend = stored(offset)
            if kind == types.relative:  # with a symbol that means nothing
                pack(memory, offset - low, base + addend & mask)
            elif kind == types.irelative:
                self.ns.ifuncs.append(
                    Ifunc(module, -1, base + offset, base + addend & mask, 0, True)
                )
            elif kind == types.copy:
                self._note_copy(module, offset, symbol)
            elif kind in (types.dtpmod, types.dtpoff, types.tpoff):
                pack(memory, offset - low, self._tls(module, kind, symbol, addend) & mask)
                beside = offset + word
                own = kind == types.dtpmod and not symbol and module.tls_block
                if own and beside not in numbered and beside <= high - word:
                    # The offset beside it is a constant of the file, counted from the module's own block.
                    pack(memory, beside - low, stored(beside) + module.tls_block & mask)
            elif kind == types.jump_slot and lazy:
                pack(memory, offset - low, stored(offset) + base & mask)  # leads into the PLT
            else:
                value, ifunc = self._value(module, symbol, kind == types.jump_slot)
                extra = addend if kind == types.symbolic else 0
                if ifunc:
                    slot = kind == types.jump_slot
                    self.ns.ifuncs.append(Ifunc(module, -1, base + offset, value, extra, slot))
                pack(memory, offset - low, value + extra & mask)

    def _value(self, module: Module, symbol: int, plt: bool) -> tuple[int, bool]:
        """(address of what a reference is bound to, whether a resolver has to be asked for it)."""
        if not symbol:
            return module.base, False
        found = self.answer(module, symbol, plt)
        if found is None:
            return 0, False
        definer, index = found
        replaced = self.ns.overrides.get(found)
        if replaced is not None:
            return replaced, False
        entry = self._symbols(definer).symbol(index)
        address = entry.value + (0 if entry.section == t.SHN_ABS else definer.base)
        return address, entry.info & 15 == t.STT_GNU_IFUNC and entry.section != t.SHN_UNDEF

    def _tls(self, module: Module, kind: int, symbol: int, addend: int) -> int:
        definer, value = module, 0
        if symbol:
            found = self.answer(module, symbol, True)
            if found is None:
                raise GiveUp
            definer = found[0]
            value = self._symbols(definer).symbol(found[1]).value
        if definer.hosted and not definer.tls_id:
            raise GiveUp  # ld.so's number for it is not known here
        if kind == self.types.dtpmod:
            return definer.tls_id
        if kind == self.types.tpoff and definer.hosted:
            raise GiveUp  # where ld.so has put it is not known here
        # By the CPU's own formula: RISC-V counts from 0x800 into a block.
        terms = {"T": value, "A": addend, "TP": definer.tls_offset}
        result: int = self.ns.arch.relocs[kind].value.evaluate(terms)
        return result + (definer.tls_block if kind == self.types.dtpoff else 0)

    def _note_copy(self, module: Module, place: int, symbol: int) -> None:
        found = self.answer(module, symbol, "copy")
        if found is None:
            return
        own = self._symbols(module).symbol(symbol)
        theirs = self._symbols(found[0]).symbol(found[1])
        self.ns.copies.append(Copy(module, place, found[0], theirs.value, own.size))

    def _open_slots(self, module: Module, link_map: Callable[[Module], int], binder: int) -> None:
        """The words of the GOT that the first call through a slot leads to, as hosted.py fills them in."""
        slots = any(row[1] == self.types.jump_slot for row in self.records[module].others)
        got = module.file.dynamic.get(t.DT_PLTGOT)
        layout, word, image = self.ns.arch.got, self.form.word, module.image
        if got is None or not slots or binds_now(module):
            return
        if image.low <= got and got + word * layout.reserved <= image.high:
            pack, at = self.form.pack, got - image.low
            pack(image.bytes, at + word * layout.link_map, link_map(module))
            pack(image.bytes, at + word * layout.resolver, binder)

    def slot(self, module: Module, index: int) -> tuple[int, tuple[Module, int] | None]:
        """(p_vaddr of the slot, who defines its function) of record *index* of DT_JMPREL."""
        file, form, dynamic = module.file, self.form, module.file.dynamic
        layout = form.rela if dynamic.get(t.DT_PLTREL) == t.DT_RELA else form.rel
        if layout.size * (index + 1) > (dynamic.get(t.DT_PLTRELSZ) or 0):
            raise file.fail("DT_JMPREL", "index of a PLT slot", index, "one of its records")
        start = dynamic[t.DT_JMPREL] + layout.size * index
        at = file.file_offset(start, layout.size, "DT_JMPREL")
        offset, info = layout.unpack_from(file.data, at)[:2]
        return offset, self.answer(module, info >> form.shift, True)

    # -- the libc family --------------------------------------------------------------------------

    def hosted_changes(self) -> list[tuple[int, int]]:
        """(address, value) of words of hosted modules that must change (hosted.py: hosted_changes)."""
        types = self.types
        changes = []
        for module in self.ns.modules:
            if not module.hosted or module is self.ns.interp:
                continue
            table = self._symbols(module)
            for offset, kind, symbol, addend in records_with_symbols(module.file):
                if kind not in (types.glob_dat, types.jump_slot, types.symbolic):
                    continue
                name = table.name(symbol)
                hashed = gnu_hash(name)
                if not any(self._symbols(own).named(name, hashed) for own in self.own):
                    continue
                found = self.answer(module, symbol, kind == types.jump_slot)
                if found is None or found[0].hosted:
                    continue
                value, ifunc = self._value(module, symbol, kind == types.jump_slot)
                extra = 0
                if kind == types.symbolic:
                    extra = self._stored(module, offset) if addend is None else addend
                if ifunc:
                    self.ns.ifuncs.append(
                        Ifunc(module, -1, module.base + offset, value, extra, False)
                    )
                else:
                    changes.append((module.base + offset, value + extra & self.form.mask))
        return changes

    def _stored(self, module: Module, offset: int) -> int:
        """The addend that a REL record of a hosted module has in its place: as the file has it."""
        at = module.file.file_offset(offset, self.form.word, "relocation")
        return int.from_bytes(module.file.data[at : at + self.form.word], self.form.order)


def _relr(file: ElfFile) -> Iterator[int]:
    """The addresses that DT_RELR covers (packed.py: unpack_relr)."""
    dynamic = file.dynamic
    if dynamic is None or t.DT_RELR not in dynamic:
        return
    size, form = dynamic.get(t.DT_RELRSZ, 0) or 0, form_of(file)
    word = form.word
    if size > word * _MOST[0]:
        raise GiveUp
    at = file.file_offset(dynamic[t.DT_RELR], size, "DT_RELR")
    where = 0
    letters = f"{file.order}{'Q' if word == 8 else 'I'}"
    for (entry,) in struct.iter_unpack(letters, file.data[at : at + size - size % word]):
        if not entry & 1:
            yield entry
            where = entry + word
            continue
        place = where
        entry >>= 1
        while entry:
            if entry & 1:
                yield place
            place += word
            entry >>= 1
        where += (8 * word - 1) * word


def bind_small(ns: Namespace, *, emulated: bool = False) -> SmallLink | None:
    """Bind a small program without numpy; None when it is for the column passes (``link.bind``).

    *emulated*: its PLT slots may wait for their first call, and it may be for any CPU; else for x86-64 alone.
    """
    if ns.model != "glibc" or ns.dynamic_weak or ns.reporter.wants:
        return None
    if not emulated and (ns.arch.name != "x86_64" or ns.lazy):
        return None
    if not emulated and first_too_new(ns, [m for m in ns.modules if not m.hosted]) is not None:
        return None
    if ns.arch.implicit_got is not None or ns.arch.local_entry is not None:
        return None  # MIPS, PowerPC64: not everything is in their records
    if not _versions_are_there(ns, ns.modules):
        return None
    link = SmallLink(ns, most=_MOST_EMULATED if emulated else _MOST)
    try:
        link.bind()
    except GiveUp:
        return None
    return link


def bind_small_group(
    ns: Namespace, own: Sequence[Module], scope: Sequence[Module], most: int
) -> SmallLink | None:
    """The same for modules that are opened later; *most* look-ups (references times modules of the scope)."""
    if ns.model != "glibc" or ns.dynamic_weak or ns.lazy or not _versions_are_there(ns, own):
        return None
    if any(module.file.segment(t.PT_TLS) is not None for module in own):
        return None
    link = SmallLink(ns, own, scope)
    try:
        if sum(1 for module in own for _ in records_with_symbols(module.file)) * len(scope) > most:
            return None
        link.bind()
    except GiveUp:
        return None
    return link


def _versions_are_there(ns: Namespace, modules: Iterable[Module]) -> bool:
    defined: dict[Module, set[bytes]] = {}
    for module in modules:
        if module.hosted:
            continue  # ld.so has looked at theirs
        for need in needed_versions(module.file):
            provider = ns.by_name.get(need.file.decode("utf-8", "surrogateescape"))
            if provider is None or provider.index < 0:
                continue
            if provider not in defined:
                defined[provider] = {d.name for d in defined_versions(provider.file)}
            if need.name not in defined[provider]:
                return False
    return True


__all__ = ["GiveUp", "SmallLink", "bind_small", "bind_small_group", "records_with_symbols"]

"""PLT slots of a guest at their first call.

What was there at the start has been bound by columns, and is looked up in them. What the program has opened since is bound by
name, in the scopes of that moment; so is what nobody defined at first (glibc elf/dl-runtime.c, _dl_fixup). A library that has
been left out (``lazyload.py``) comes when nobody else has the symbol.
"""

from __future__ import annotations

import os

from rtld.elf import types as t
from rtld.elf.dlopen import default_scope
from rtld.elf.load import is_symbolic
from rtld.elf.models import MODELS
from rtld.elf.scalar import dynsym, gnu_hash
from rtld.elf.small import GiveUp
from rtld.errors import FormatError, RtldError
from rtld.process.emulated.system import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from rtld.core.module import Module, Namespace
    from rtld.elf.notices import Notice
    from rtld.elf.small import SmallLink
    from rtld.process.emulated.guest import Guest


class Slots:
    """Whose slots wait; the word by which the PLT of a module says who it is, is a number from 1 in ``modules``."""

    def __init__(self, guest: Guest, ns: Namespace, small: SmallLink | None = None) -> None:
        """*ns*: with the columns of all that is there at the start; *small*: what has bound it instead."""
        self.guest = guest
        self._small = small
        self.modules: list[Module] = list(ns.modules if small is not None else ns.columns.modules)
        self._started = len(self.modules)
        self._numbers = {module: i + 1 for i, module in enumerate(self.modules)}
        self._columns, self._relocations, self._bindings = ns.columns, ns.relocations, ns.bindings
        self._rows: dict[Module, dict[int, int]] = {}  # position of a record -> row
        self._told: dict[
            int, list[Notice]
        ] = {}  # row of the program's bindings -> what is said at its call
        if ns.notices:
            from rtld.elf.notices import at_first_call

            self._told = at_first_call(ns)

    def number(self, module: Module) -> int:
        """The word for GOT[1]."""
        number = self._numbers.get(module)
        if number is None:
            self.modules.append(module)
            number = self._numbers[module] = len(self.modules)
        return number

    def bind(self, number: int, index: int) -> int:
        """Fill the slot of record *index* of DT_JMPREL; the function's address. StartFailed ends the program as ld.so would."""
        guest = self.guest
        if not 0 < number <= len(self.modules):
            self._give_up(f"a PLT's link map is {number:#x}, which is nobody's")
        module = self.modules[number - 1]
        place, symbol = self._record(module, index)
        definer, definition = None, 0
        if number <= self._started:
            definer, definition = self._bound_at_start(module, number, index)
        if definer is None:
            with guest.inside(guest.home.get(module, 0)):
                found = self._look_up(module, symbol)
            if found is None:
                return 0  # an undefined weak function that is called all the same
            definer, definition = found
        value = guest.value(definer, definition)
        if guest.audit is not None:
            name = self._name(module, symbol)[0]
            value = guest.audit.value(name, module, definer, value, called=True)
        guest.write_word(place, value)
        if "bindings" in guest.reporter.wants:
            name, version = self._name(module, symbol)
            guest.reporter.bound(module, definer, name, version, "")
        return value

    def _record(self, module: Module, index: int) -> tuple[int, int]:
        """(address of the slot, symbol) of a record; MIPS has none: *index* is the symbol, and the GOT has a word for each."""
        if self.guest.arch.implicit_got is not None:
            return self._got_word(module, index), index
        word, order = self.guest.word, self._byteorder
        at = self._offset(module, index)
        data = module.file.data
        place = int.from_bytes(data[at : at + word], order) + module.base
        info = int.from_bytes(data[at + word : at + 2 * word], order)
        return place & self.guest.machine.kernel.mask, info >> (32 if word == 8 else 8)

    def _got_word(self, module: Module, symbol: int) -> int:
        dynamic = module.file.dynamic
        first, end = dynamic.get(t.DT_MIPS_GOTSYM) or 0, dynamic.get(t.DT_MIPS_SYMTABNO) or 0
        if not first <= symbol < end:
            self._give_up(f"{module.path}: its GOT has no word for symbol {symbol}")
        at = (dynamic.get(t.DT_MIPS_LOCAL_GOTNO) or 0) + symbol - first
        place: int = module.base + dynamic[t.DT_PLTGOT] + self.guest.word * at
        return place & self.guest.machine.kernel.mask

    def _offset(self, module: Module, index: int) -> int:
        """Offset in the file of a record."""
        dynamic = module.file.dynamic
        size = self.guest.word * (3 if dynamic.get(t.DT_PLTREL) == t.DT_RELA else 2)
        if t.DT_JMPREL not in dynamic or size * index >= (dynamic.get(t.DT_PLTRELSZ) or 0):
            self._give_up(f"{module.path}: DT_JMPREL has no record {index}")
        return int(module.file.file_offset(dynamic[t.DT_JMPREL] + size * index, size, "DT_JMPREL"))

    @property
    def _byteorder(self) -> Any:
        return "little" if self.guest.order == "<" else "big"

    def _bound_at_start(self, module: Module, number: int, index: int) -> tuple[Module | None, int]:
        """What the columns say, or the scalar passes."""
        if self._small is not None:
            try:
                _place, found = self._small.slot(module, index)
            except (GiveUp, FormatError):
                self._give_up(f"{module.path}: there is no PLT slot {index}")
            return found if found is not None else (None, 0)
        import numpy as np

        from rtld.elf.flat import position

        r, b = self._relocations, self._bindings
        got = self.guest.arch.implicit_got is not None
        rows = self._rows.get(module)
        if rows is None:
            slot = self.guest.arch.reloc_types.jump_slot
            # MIPS has no records for them: rows are known by the symbol.
            chosen = np.flatnonzero(
                (r.module == number - 1) & (r.type < 0 if got else r.type == slot)
            )
            keys = r.symbol if got else r.at
            rows = self._rows[module] = dict(
                zip(keys[chosen].tolist(), chosen.tolist(), strict=True)
            )
        row = rows.get(index if got else position(module.file.data) + self._offset(module, index))
        if row is None or r.reference[row] < 0:
            self._give_up(f"{module.path}: PLT slot {index} has no symbol")
        reference = int(r.reference[row])
        if module is self.guest.ns.main:
            self._tell(self._told.get(reference, ()))
        definer = int(b.definer[reference])
        if definer < 0:
            return None, 0
        return self._columns.modules[definer], int(b.definition[reference])

    def _tell(self, notices: Iterable[Notice]) -> None:
        program = os.fsdecode(self.guest.process.argv[0])
        for notice in notices:
            from rtld.elf.notices import spoken

            text = spoken(notice.problem, program)
            if notice.problem.fatal:
                raise StartFailed(text)
            self.guest.reporter.message(text)

    def _name(self, module: Module, symbol: int) -> tuple[str, str | None]:
        table = dynsym(module.file)
        version = None
        if (raw := table.version(symbol)) >= 0:
            version = table.version_names().get(raw & 0x7FFF)
        return os.fsdecode(table.name(symbol)), os.fsdecode(version) if version else None

    def _look_up(self, module: Module, symbol: int) -> tuple[Module, int] | None:
        """Who defines it now; None: nobody, and it is weak."""
        from rtld.process.emulated.lazyload import load_for

        guest = self.guest
        table = dynsym(module.file)
        entry = table.symbol(symbol)
        if entry.other & 3 and entry.section != t.SHN_UNDEF:
            return module, symbol  # hidden or protected: its own
        name, version = self._name(module, symbol)
        lost: list[RtldError] = []
        try:
            while True:
                found = self._search(module, os.fsencode(name), version)
                if found is not None:
                    if found[0] is not module and found[0] not in guest.opened.startup:
                        used = guest.opened.extra.setdefault(module, set())
                        guest.opened.extra[module] = used | {found[0]}
                    return found
                if not load_for(guest, module, name, version, lost):
                    break
        except RtldError as error:
            self._give_up(f"error while loading shared libraries: {error}", "")
        if entry.info >> 4 == t.STB_WEAK:
            return None
        if lost:
            self._give_up(f"error while loading shared libraries: {lost[0]}", "")
        called = guest.program if module is guest.ns.main else module.path
        if guest.ns.model == "musl":
            self._give_up(f"Error relocating {called}: {name}: symbol not found", "")
        tail = f", version {version}" if version else ""
        return self._give_up(f"{called}: undefined symbol: {name}{tail}")

    def _search(
        self, module: Module, name: bytes, version: str | None
    ) -> tuple[Module, int] | None:
        guest, hashed = self.guest, gnu_hash(name)
        wanted = os.fsencode(version) if version else None
        scope = default_scope(guest.ns, guest.opened, module)
        if MODELS[guest.ns.model].symbolic and is_symbolic(module):
            scope = [module, *scope]
        for candidate in scope:
            table = dynsym(candidate.file)
            index = table.lookup(name, wanted, hashed, newest=False, plt=True, base=True)
            if index:
                return candidate, index
        return None

    def _give_up(self, text: str, what: str = "symbol lookup error: ") -> NoReturn:
        program = os.fsdecode(self.guest.process.argv[0])
        raise StartFailed(f"{program}: {what}{text}")

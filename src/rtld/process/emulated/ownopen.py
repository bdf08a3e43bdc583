"""What libc itself opens under ``--pure``: libgcc_s to unwind threads, character sets of iconv, modules of NSS.

It does so by pointers in ``_rtld_global_ro`` to ld.so's ``_dl_open``, ``_dl_lookup_symbol_x`` and ``_dl_close`` (elf/dl-libc.c).
They stand behind that to ``_dl_mcount``, which ld.so also exports, and are led to Python here.
"""

from __future__ import annotations

import os

from rtld.elf import types as t
from rtld.elf.dlopen import RTLD_NOW, DlError, find_symbol
from rtld.elf.scalar import dynsym
from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.core.module import Module
    from rtld.process.emulated.pure import PureGuest

_MODE = (
    0x10F  # of dlopen's flags: RTLD_LAZY to RTLD_DEEPBIND, RTLD_GLOBAL; libc's own marks are above
)


class OwnOpen:
    """The three functions for one guest."""

    def __init__(self, guest: PureGuest) -> None:
        self.guest = guest
        self.machine = guest.machine

    def install(self) -> bool:
        """Lead the pointers here; False where they are not found, and libc's own dlopen will fail."""
        guest, state = self.guest, self.guest.state
        ro = state.structure("_rtld_global_ro")
        first = state.symbol(state.interp, "_dl_mcount")
        if first is None:
            return False
        word = guest.word
        places = range(ro[0], ro[0] + ro[1] - word + 1, word)
        values = {at: guest.read_word(at) for at in places}
        start = next((at for at, value in values.items() if value == first[0]), None)
        if start is None or not all(
            self._is_code(values.get(start + word * i, 0)) for i in (1, 2, 3)
        ):
            return False
        functions: list[tuple[Callable[..., int], int]] = [
            (self.look_up, 5), (self.open, 2), (self.close, 1),
        ]  # fmt: skip
        for i, (function, count) in enumerate(functions, 1):
            guest.write_word(start + word * i, self._trap(function, count))
        return True

    def _is_code(self, address: int) -> bool:
        interp = self.guest.state.interp
        return any(
            load.flags & t.PF_X and load.vaddr <= address - interp.base < load.vaddr + load.memsz
            for load in interp.file.loads
        )

    def _trap(self, function: Callable[..., int], count: int) -> int:
        """A C function; what goes wrong in it goes to ``_dl_signal_exception(errno, exception, occasion)``, which does not return."""
        machine, cpu, word = self.machine, self.machine.cpu, self.guest.word

        def run() -> int:
            engine = machine.engine
            sp = engine.get(cpu.sp)
            back = engine.get(cpu.link) if cpu.link else machine.word(sp)
            above = sp + cpu.area + (0 if cpu.link else word)
            values = [engine.get(name) for name in cpu.arguments[:count]]
            values += [machine.word(above + word * i) for i in range(count - len(values))]
            try:
                result = function(*values)
            except (RtldError, OSError) as error:
                told = (0, self._exception(getattr(error, "dlerror", str(error))), 0)
                for name, value in zip(cpu.arguments, told, strict=False):
                    engine.set(name, value)
                for i, value in enumerate(told[len(cpu.arguments) :]):
                    self.guest.write_word(above + word * i, value)
                return self.guest.state.function("_dl_signal_exception")
            engine.set(cpu.result, result & machine.kernel.mask)
            if not cpu.link:
                engine.set(cpu.sp, sp + word)
            return back

        return machine.trap(run)

    def _exception(self, text: str) -> int:
        """struct dl_exception: objname, errstring, message_buffer (nothing that somebody would free)."""
        guest, services = self.guest, self.guest.services
        at = services.allocate(4 * guest.word)
        words = (services.keep(b""), services.keep(os.fsencode(text)), 0)
        guest.machine.write(at, guest.pack(*words))
        return at

    def open(self, name: int, mode: int) -> int:
        """_dl_open(file, mode, caller, namespace, argc, argv, env)."""
        guest = self.guest
        text = os.fsdecode(guest.read_string(name))
        with guest.inside(0):
            return guest.services.link_map(guest.open(text, mode & _MODE or RTLD_NOW))

    def look_up(self, name: int, handle: int, reference: int, _scope: int, version: int) -> int:
        """_dl_lookup_symbol_x(name, map, &symbol, scope, version, ...): the definer's link_map; the symbol's entry."""
        guest = self.guest
        text = guest.read_string(name)
        wanted = guest.read_string(guest.read_word(version)) if version else None
        module = guest.services.opened(handle)
        found = find_symbol(guest.scope(module), text, wanted)
        if found is None:
            raise DlError(f"{module.path}: undefined symbol: {os.fsdecode(text)}")
        definer, index = found
        guest.write_word(reference, self._entry(definer, index))
        return guest.services.link_map(definer)

    def _entry(self, module: Module, index: int) -> int:
        """The address of an entry of its symbol table in memory."""
        size = 24 if self.guest.word == 8 else 16
        assert dynsym(module.file).symbol(index).section != t.SHN_UNDEF
        return int(module.base + module.file.dynamic[t.DT_SYMTAB] + size * index)

    def close(self, handle: int) -> int:
        """_dl_close(map)."""
        guest = self.guest
        with guest.inside(0):
            guest.close_library(guest.services.opened(handle))
        return 0

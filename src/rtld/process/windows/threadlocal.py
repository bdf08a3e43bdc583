"""Thread-local data of images: a slot for each module, a block for each module and thread ("PE Format", the .tls section).

The number of the slot stands where the image says; the TEB has the address of an array of blocks, which grows with the
modules. Slots and blocks of modules that are gone are given to others (dlls/ntdll/loader.c: alloc_tls_slot, free_tls_slot).
"""

from __future__ import annotations

from rtld.backends.windows.guarded import guarded
from rtld.pe.tls import tls_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System
    from rtld.pe.module import PeModule, PeNamespace

    Task = Generator[Any, Any, Any]

_ARRAY = 64  # slots that an array has at first


class ThreadLocal:
    """The part of ``Loader`` that knows the slots."""

    machine: Any
    ns: PeNamespace
    system: System
    initialised: list[PeModule]

    def __init__(self) -> None:
        self.tls: list[PeModule | None] = []  # by slot
        self._arrays: dict[int, int] = {}  # address of an array -> slots that it has

    def give_tls(self, module: PeModule) -> None:
        """A slot for the module's data, its number where the module looks for it, a block for each thread."""
        directory = tls_directory(module.file)
        late = bool(self.initialised) and self.ns.policies.tls == "static-only"
        if directory is None or not module.resolved or late:
            return
        slot = self.tls.index(None) if None in self.tls else len(self.tls)
        self.tls[slot : slot + 1] = [module]
        module.tls_slot = slot
        if directory.index:
            self.system.put(module.base + directory.index, slot, 4)
        for thread in self.machine.threads:
            if thread.code is None:
                self._give_block(thread, module)

    def give_blocks(self, thread: Any) -> None:
        """A new thread's blocks."""
        for module in self.tls:
            if module is not None:
                self._give_block(thread, module)

    def _pointer(self, thread: Any) -> int:
        """Where its TEB has the array."""
        return int(thread.teb) + (0x58 if self.system.bits == 64 else 0x2C)

    def _give_block(self, thread: Any, module: PeModule) -> None:
        directory = tls_directory(module.file)
        assert directory is not None
        system = self.system
        size = directory.end - directory.start
        block = system.heap.allocate(max(size + directory.zeros, 1))
        if size:
            system.memory.write(block, system.memory.read(module.base + directory.start, size))
        system.put(self._array(thread, module.tls_slot) + module.tls_slot * system.word, block)

    def _array(self, thread: Any, slot: int) -> int:
        """The thread's array, with room for that slot."""
        system, pointer = self.system, self._pointer(thread)
        array = system.number(pointer)
        room = self._arrays.get(array, 0) if array else 0
        if slot >= room:
            wider = max(2 * room, _ARRAY)
            made = system.heap.allocate(wider * system.word)
            if room:
                system.memory.write(made, system.memory.read(array, room * system.word))
            # The old one stays: the thread may have its address in a register.
            self._arrays[made] = wider
            array = made
            system.put(pointer, array)
        return array

    def take_tls(self, module: PeModule) -> None:
        """The module is gone: its slot and blocks are free."""
        slot = module.tls_slot
        if slot < 0:
            return
        self.tls[slot] = None
        module.tls_slot = -1
        for thread in self.machine.threads:
            array = self.system.number(self._pointer(thread)) if thread.code is None else 0
            if array and slot < self._arrays.get(array, 0):
                place = array + slot * self.system.word
                self.system.heap.free(self.system.number(place))
                self.system.put(place, 0)

    def _callbacks(self, module: PeModule, reason: int) -> Task:
        """The TLS callbacks of a module."""
        directory = tls_directory(module.file) if module.tls_slot >= 0 else None
        for rva in directory.callbacks if directory is not None else ():
            yield from guarded(self.system, module.base + rva, (module.base, reason, 0))

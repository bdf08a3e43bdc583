"""Memory of a machine: where images are, and where functions of ours stand."""

from __future__ import annotations

from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE
from rtld.backends.windows.guestmemory import GuestMemory
from rtld.backends.windows.stubs import HALTS, SLOT
from rtld.core.space import page_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.memory import Memory
    from rtld.backends.windows.api import Api


class MachineMemory:
    """The part of ``Machine`` that knows addresses."""

    halt = 1  # bytes of the instruction that stops the CPU
    cpu: Any

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.guest = GuestMemory(memory)
        self.slots: dict[int, Api] = {}  # address -> function
        self._extra = self._extra_end = 0  # slots that no DLL has

    def reserve(self, size: int, align: int, at: int | None = None) -> int:
        """Addresses for an image. NoSpace."""
        return self.memory.reserve(size, align, at)

    def commit(self, address: int, data: memoryview) -> None:
        """Bytes at a reserved place; everything is allowed there until ``protect`` says less."""
        self.memory.map(address, page_up(len(data)), READ | WRITE | EXECUTE)
        self.memory.write(address, data)

    def protect(self, address: int, size: int, rights: int) -> None:
        self.memory.protect(address, page_up(size), rights)

    def unmap(self, address: int, size: int) -> None:
        self.memory.unmap(address, page_up(size))

    def alike(self, page: int, limit: int) -> tuple[int, int, int]:
        """(start, end, rights) of the pages from ``page`` on, below ``limit``, that have the same rights."""
        pieces = self.memory.regions.pieces(page, max(limit, page + PAGE))
        if not pieces or pieces[0][0] != page:
            return page, page + PAGE, 0
        _, high, rights = pieces[0]
        for low, end, other in pieces[1:]:
            if low != high or other != rights:
                break
            high = end
        return page, high, int(rights)

    def add_slot(self, address: int, api: Api) -> None:
        """A function of ours stands there."""
        self.slots[address] = api

    def new_slot(self, api: Api) -> int:
        """The address of a new slot, for a function that no table has."""
        if self._extra == self._extra_end:
            self._extra = self.guest.allocate(4 * PAGE, READ | EXECUTE)
            self.memory.write(self._extra, HALTS[self.cpu.name] * (4 * PAGE // self.halt))
            self._extra_end = self._extra + 4 * PAGE
        address = self._extra
        self._extra += SLOT
        self.slots[address] = api
        return address

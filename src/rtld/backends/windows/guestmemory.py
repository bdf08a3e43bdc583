"""The memory of a program on an emulated CPU, as the functions of the tables want it."""

from __future__ import annotations

from rtld.backends.emulated.memory import PAGE, READ, WRITE, Memory
from rtld.core.space import page_up

_GRANULARITY = 0x10000  # of what is reserved


class GuestMemory:
    """The program's bytes, as ``System`` wants them."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.memory.view(address, size))

    def write(self, address: int, data: bytes) -> None:
        self.memory.write(address, data)

    def allocate(self, size: int, rights: int = READ | WRITE) -> int:
        size = page_up(size)
        at = self.memory.reserve(size)
        self.memory.map(at, size, rights)
        return at

    def release(self, address: int, size: int) -> None:
        self.memory.unmap(address, page_up(size))

    def reserve(self, size: int, at: int | None) -> int:
        return self.memory.reserve(page_up(size), _GRANULARITY, at)

    def commit(self, address: int, size: int, rights: int) -> None:
        at, end = address, address + size
        for low, high, _ in [*self.memory.regions.pieces(address, end), (end, end, 0)]:
            if at < low:
                self.memory.map(at, low - at, rights)
            at = high
        self.memory.protect(address, size, rights)

    def decommit(self, address: int, size: int) -> None:
        self.memory.unmap(address, size)
        self.memory.reserved.add(address, address + size)

    def map_file(self, size: int, rights: int, fd: int, offset: int, at: int | None) -> int:
        start = self.memory.reserve(page_up(size), _GRANULARITY, at)
        try:
            self.memory.map_file(
                start, page_up(size), rights, fd, offset, shared=bool(rights & WRITE)
            )
        except OSError:
            self.memory.unmap(start, page_up(size))
            raise
        return start

    def rights(self, address: int) -> tuple[int, int | None]:
        page = address & -PAGE
        end = min(page + (1 << 32), self.memory.size)
        pieces = self.memory.regions.pieces(page, end)
        if not pieces or pieces[0][0] > page:
            return pieces[0][0] if pieces else end, None
        high, rights = pieces[0][1], int(pieces[0][2])
        for low, following, other in pieces[1:]:
            if low != high or other != rights:
                break
            high = following
        return high, rights

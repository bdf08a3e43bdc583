"""The guest's memory: one range of host addresses, in which a guest address is an offset.

The range is reserved, and costs nothing until a page is touched. What the guest may reach are the regions mapped in its
CPU; what the host reads and writes for it goes through a memoryview of the same bytes, after the regions have been asked.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os

from rtld.backends.emulated.pagecache import PageCache, Pager
from rtld.backends.emulated.ranges import Ranges
from rtld.core.space import page_up
from rtld.errors import NoSpace, TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.engine import Engine

PAGE = 0x1000
READ, WRITE, EXECUTE = 1, 2, 4  # as PROT_* of <sys/mman.h>, and as Unicorn has them
SIZES = {32: 1 << 32, 64: 1 << 36}
_NORESERVE = 0x4000  # MAP_NORESERVE, which Python 3.11 does not name
_MAP_SHARED, _MAP_FIXED = 0x01, 0x10
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2


class NotMapped(TargetFault):
    """Bytes that the program does not have, or not to do that with. ``address``: the first of them."""

    def __init__(self, start: int, size: int, address: int) -> None:
        self.size = size
        self.address = address
        super().__init__(f"{size:#x} bytes at {start:#x}: not all of them are the program's")


class Memory:
    """Addresses that are taken (``reserve``), and those of them that have memory (``map``)."""

    def __init__(self, engine: Engine, bits: int, first: int = PAGE, limit: int = 1 << 32) -> None:
        self.size = engine.cpu.space or SIZES[bits]
        self.first = first
        self.limit = limit
        self.mapped = 0
        self.reserved = Ranges()
        self.regions = Ranges()  # value: rights
        self.labels = Ranges()  # value: index into sources
        self.sources: list[tuple[str, int]] = []  # (what it is, address of its offset 0)
        #: Where what may be anywhere goes: low, high, downwards.
        self.area = (first, self.size - PAGE, True)
        self.pager: Pager | None = None
        self.stacks = 0  # stacks of threads go below that, if it is not 0
        self.shared = Ranges()  # with other processes, or with a file
        self._foreign = (
            Ranges()
        )  # where there is other memory than the arena's own; value: 1: never to be written
        self._engine = engine
        try:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            self._arena = mmap.mmap(-1, self.size, flags)
        except OSError as error:
            raise NoSpace(
                f"no {self.size >> 30} GiB of addresses for an emulated CPU: {error.strerror}"
            ) from None
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._arena))
        self._bytes = memoryview(self._arena)

    # -- addresses ----------------------------------------------------------------------------------

    def reserve(
        self, size: int, align: int = PAGE, at: int | None = None, *, high: bool = False
    ) -> int:
        """Addresses for *size* bytes: exactly *at*, else the lowest, or *high*est, that are free. NoSpace."""
        size = page_up(max(size, 1))
        align = max(align, PAGE)
        if at is None:
            found = self._find(size, align, high)
            if found is None:
                raise NoSpace(f"no {size:#x} bytes of the emulated CPU's addresses are free")
            at = found
        elif at % PAGE or at < self.first or at + size > self.size - PAGE:
            end = self.size - PAGE
            raise NoSpace(
                f"{at:#x} is not for programs: pages from {self.first:#x} to {end:#x} are"
            )
        elif taken := self.reserved.pieces(at, at + size):
            start, end, _ = taken[0]
            raise NoSpace(f"{at:#x} to {at + size:#x} is not free: {start:#x} to {end:#x} is taken")
        self.reserved.add(at, at + size)
        return at

    def _find(self, size: int, align: int, high: bool) -> int | None:
        """A gap: in the area for what may be anywhere (*high*), or the lowest of all."""
        low, top, down = self.area
        found = None
        if high:
            find = self.reserved.highest_gap if down else self.reserved.lowest_gap
            found = find(size, align, low, top)
        if found is None:
            find = self.reserved.highest_gap if high and down else self.reserved.lowest_gap
            found = find(size, align, self.first, self.size - PAGE)
        return found

    def reserve_stack(self, size: int) -> int:
        """Addresses for the stack of a thread."""
        found = None
        if self.stacks:
            found = self.reserved.highest_gap(size, PAGE, self.first, self.stacks)
        if found is None:
            return self.reserve(size, high=True)
        return self.reserve(size, PAGE, found)

    def label(self, start: int, size: int, what: str, offset: int = 0) -> None:
        """Say what is there, from its byte *offset* on."""
        self.sources.append((what, start - offset))
        self.labels.add(start, start + size, len(self.sources) - 1)

    def place(self, address: int) -> tuple[str, int] | None:
        """(what is there, which byte of it); None where nobody has said."""
        found = self.labels.pieces(address, address + 1)
        if not found:
            return None
        what, origin = self.sources[found[0][2]]
        return what, address - origin

    # -- memory -------------------------------------------------------------------------------------

    def map(self, start: int, size: int, rights: int, *, shared: bool = False) -> None:
        """Put zeros there, whatever was there before. NoSpace beyond the limit. *shared*: with processes forked later."""
        self._take(start, size)
        if shared:
            self._place(start, size, _MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0)
            self.shared.add(start, start + size)
        self._add(start, size, rights)

    def map_file(
        self, start: int, size: int, rights: int, fd: int, offset: int, *, shared: bool = False
    ) -> None:
        """Put a file's pages there; *shared*: what is written goes into the file. OSError as of mmap."""
        if shared and rights & WRITE and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDWR:
            raise PermissionError(errno.EACCES, "not open for writing")
        self._take(start, size)
        if self.pager is not None and not shared:
            self.pager.add(start, size, fd, offset)
            self._add(start, size, rights, show=False)
            if self._engine.cpu.eager:
                self.pager.bring(start, size)  # nobody would tell that a page is missing (quirks)
                if rights & WRITE:
                    self.pager.own(start, size)
            return
        self._place(start, size, _MAP_SHARED if shared else mmap.MAP_PRIVATE, fd, offset)
        if shared:
            self.shared.add(start, start + size)
        self._add(start, size, rights)

    def map_again(self, old: int, start: int, size: int) -> None:
        """Put what the shared map at *old* shows at *start*, too: *size* bytes from there on. OSError as of mremap."""
        ((_, _, rights),) = self.regions.pieces(old, old + 1)
        ((_, _, fixed),) = self._foreign.pieces(old, old + 1)
        self._take(start, size)
        show_again(self._base + old, self._base + start, size)
        self._foreign.add(start, start + size, fixed)
        self.shared.add(start, start + size)
        self._add(start, size, rights)

    def page_in(self, cache: PageCache) -> None:
        """From now on pages of files come through the cache, when they are touched."""
        self.pager = Pager(self, cache)

    def place_pages(self, start: int, size: int, fd: int, offset: int) -> None:
        """For the pager: a private map of a file there."""
        self._place(start, size, mmap.MAP_PRIVATE, fd, offset)

    def show(self, start: int, end: int) -> None:
        """For the pager: the CPU may use these pages now, but for writing."""
        for low, high, rights in self.regions.pieces(start, end):
            self._engine.map(low, high - low, rights & ~WRITE, self._base + low)

    def show_again(self, start: int, end: int) -> None:
        """For the pager: with all their rights."""
        for low, high, rights in self.regions.pieces(start, end):
            if rights & WRITE:
                self._engine.protect(low, high - low, rights, self._base + low)

    def fault(self, address: int, size: int, write: bool) -> bool:
        """The CPU, which stands still, has touched what is not there, or not to be written yet; True: it can go on.

        Not in the hook: after one that changes memory Unicorn stores through an old translation, anywhere.
        """
        pager = self.pager
        if pager is None:
            return False
        came = pager.bring(address & -PAGE, page_up(address + max(size, 1)) - (address & -PAGE))
        if write and self.covers(address, size, WRITE):
            came = pager.own(address, size) or came
        return came

    def _take(self, start: int, size: int) -> None:
        self.unmap(start, size)
        if self.mapped + size > self.limit:
            raise NoSpace(f"the program wants more than {self.limit:#x} bytes of memory")

    def _place(self, start: int, size: int, flags: int, fd: int, offset: int) -> None:
        """Other memory than zeros of our own, at the guest's address."""
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        if (
            fd >= 0
            and flags & _MAP_SHARED
            and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        ):
            protection = mmap.PROT_READ
        map_at(self._base + start, size, protection, flags, fd, offset)
        self._foreign.add(start, start + size, int(protection == mmap.PROT_READ))

    def _add(self, start: int, size: int, rights: int, *, show: bool = True) -> None:
        self.reserved.add(start, start + size)
        self.regions.add(start, start + size, rights)
        self.mapped += size
        if show:
            self._engine.map(start, size, rights, self._base + start)

    def lend(self, start: int, data: bytes) -> None:
        """Pages that may be read, by functions of ours: for the CPU somebody else has mapped them."""
        self._bytes[start : start + len(data)] = data
        self._add(start, len(data), READ, show=False)

    def unmap(self, start: int, size: int) -> None:
        """Take memory and addresses away; what is not there stays so."""
        self.reserved.remove(start, start + size)
        self.labels.remove(start, start + size)
        self.shared.remove(start, start + size)
        absent = Ranges()
        for low, high in self.pager.drop(start, size) if self.pager is not None else ():
            absent.add(low, high)
        for low, high, _ in self.regions.remove(start, start + size):
            for first, last in _without(low, high, absent):
                self._engine.unmap(first, last - first)
                self.discard(first, last - first)
            self.mapped -= high - low
        for low, high, _ in self._foreign.remove(start, start + size):
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            map_at(self._base + low, high - low, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)

    def discard(self, start: int, size: int) -> None:
        """Back to what a page is before it is touched: zeros, or the file's bytes."""
        self._arena.madvise(mmap.MADV_DONTNEED, start, size)

    def protect(self, start: int, size: int, rights: int) -> None:
        """Change what may be done with whole pages. TargetFault where there is no memory."""
        end = start + size
        if not self.covers(start, size):
            raise TargetFault(f"no memory to protect at {start:#x} to {end:#x}")
        if rights & WRITE and any(fixed for _, _, fixed in self._foreign.pieces(start, end)):
            raise PermissionError(errno.EACCES, "a shared map of a file that is open for reading")
        for low, high, before in self.regions.pieces(start, end):
            if before != rights:
                self.regions.add(low, high, rights)
                self._protect(low, high, rights)

    def _protect(self, low: int, high: int, rights: int) -> None:
        """In the CPU: what is there; what is the cache's still, without the right to write."""
        pager = self.pager
        if pager is None:
            self._engine.protect(low, high - low, rights, self._base + low)
            return
        for first, last in _without(low, high, pager.absent):
            self._engine.protect(first, last - first, rights, self._base + first)
            if rights & WRITE and self._engine.cpu.eager:
                pager.own(first, last - first)
            elif rights & WRITE:
                for begin, end, _ in pager.lent.pieces(first, last):
                    self._engine.protect(begin, end - begin, rights & ~WRITE, self._base + begin)

    def is_shared(self, address: int) -> bool:
        """Do others see what is written there?"""
        return bool(self.shared.pieces(address, address + 1))

    def covers(self, start: int, size: int, rights: int = 0) -> bool:
        """All of it has memory, with these rights."""
        at = start
        for low, high, have in self.regions.pieces(start, start + size):
            if low != at or have & rights != rights:
                return False
            at = high
        return at == start + size

    def _first_bad(self, start: int, size: int, rights: int) -> int:
        at = start
        for low, high, have in self.regions.pieces(start, start + size):
            if low != at or have & rights != rights:
                break
            at = high
        return at

    # -- bytes --------------------------------------------------------------------------------------

    def view(self, start: int, size: int, rights: int = 0) -> memoryview:
        """The bytes themselves. TargetFault unless all of it has memory with these rights."""
        if not self.covers(start, size, rights):
            raise NotMapped(start, size, self._first_bad(start, size, rights))
        if self.pager is not None:
            self.pager.bring(start, size)
            if rights & WRITE:
                self.pager.own(start, size)
        return self._bytes[start : start + size]

    def byte(self, address: int) -> int:
        """A byte of what the CPU has just run, so that it is there; 0 where it is not."""
        return self._bytes[address] if address < self.size else 0

    def write(self, start: int, data: bytes | memoryview) -> None:
        """Write as the host does: rights do not matter."""
        view = self.view(start, len(data))
        if self.pager is not None:
            self.pager.own(start, len(data))
        view[:] = data
        self.changed(start, len(data))

    def changed(self, start: int, size: int) -> None:
        """Somebody but the CPU has written there: what was translated of it is out of date."""
        for low, high, rights in self.regions.pieces(start, start + size) if size else ():
            if rights & EXECUTE:
                for page in range(low & -PAGE, high, PAGE):
                    self._engine.forget(max(page, low), min(page + PAGE, high))

    def close(self) -> None:
        """Give the range back, unless somebody still has a view of it. Close the engine first."""
        if self.pager is not None:
            self.pager.close()
        self.regions = Ranges()
        self._bytes.release()
        try:
            self._arena.close()
        except BufferError:
            pass


def _without(low: int, high: int, holes: Ranges) -> list[tuple[int, int]]:
    """The parts of [low, high) that are in none of the holes."""
    parts = []
    at = low
    for start, end, _ in holes.pieces(low, high):
        if at < start:
            parts.append((at, start))
        at = end
    if at < high:
        parts.append((at, high))
    return parts


def show_again(old: int, new: int, size: int) -> None:
    """mremap of no bytes of a shared map: it stays, and is seen at *new*, too (man 2 mremap). OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mremap.restype = ctypes.c_void_p
    libc.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)  # fmt: skip
    if libc.mremap(old, 0, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, new) != new:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def map_at(address: int, size: int, protection: int, flags: int, fd: int, offset: int) -> None:
    """mmap with MAP_FIXED, which Python's own does not have. OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    )
    got = libc.mmap(address, size, protection, flags | _MAP_FIXED, fd, offset)
    if got != address:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""The guest's kernel: system calls of Linux, served by the host for the three standard descriptors and plain memory.

A call that is not here returns ENOSYS, and is counted under its name in ``unknown``. A guest reaches no file, no process
and no memory of the host's: what it can do is what the ``sys_`` functions below do. Semantics: the man pages, section 2.
"""

from __future__ import annotations

import errno
import os
import struct
from signal import SIGPIPE

from rtld.backends.emulated.callnumbers import call_names
from rtld.backends.emulated.faults import LimitReached
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE
from rtld.core.space import page_up
from rtld.errors import NoSpace, TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtld.backends.emulated.cpus import Cpu
    from rtld.backends.emulated.engine import Engine
    from rtld.backends.emulated.memory import Memory

STANDARD = {0: 0, 1: 1, 2: 2}
HEAP = 1 << 28  # addresses kept for brk
MOST = 0x7FFFF000  # bytes of one read or write (MAX_RW_COUNT)

# fmt: off
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 0x01, 0x02, 0x10, 0x20, 0x100000
PROTECTIONS = READ | WRITE | EXECUTE
IOV_MAX = 1024
# fmt: on


class Ended(BaseException):
    """The program has ended, with that status: its own, or 128 + the number of the signal that ended it."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


class Kernel:
    """What a system call reaches. *descriptors*: the guest's -> the host's; *wait* returns when one of these has input."""

    def __init__(
        self,
        cpu: Cpu,
        engine: Engine,
        memory: Memory,
        descriptors: Mapping[int, int],
        wait: Callable[[int], None],
    ) -> None:
        self.cpu = cpu
        self.memory = memory
        self.descriptors = dict(descriptors)
        self.calls: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self._engine = engine
        self._wait = wait
        self._word = (1 << cpu.bits) - 1
        self._registers = engine.bank(cpu.entry.number, *cpu.entry.arguments, cpu.pc)
        self._names = call_names(cpu.name)
        self._served: dict[int, Callable[..., int]] = {
            number: getattr(self, f"sys_{name}")
            for number, name in self._names.items()
            if hasattr(self, f"sys_{name}")
        }
        # Where mmap has its six arguments in memory, because the oldest convention had registers for five.
        if "mmap" in self._names.values() and cpu.name in ("i386", "s390x"):
            number = next(n for n, name in self._names.items() if name == "mmap")
            self._served[number] = self.old_mmap
        self._heap = self._break = 0

    def serve(self) -> None:
        """The CPU has come to a system call: do it, and put the result where the guest expects it."""
        entry = self.cpu.entry
        number, *arguments, pc = self._registers.read()
        if entry.immediate:
            number = self.memory.view(pc, 2)[1] or number
        number &= 0xFFFFFFFF
        if entry.advance:
            self._engine.set(self.cpu.pc, pc + entry.advance)
        name = self._names.get(number, f"number {number}")
        self.calls[name] = self.calls.get(name, 0) + 1
        function = self._served.get(number)
        if function is None:
            self.unknown[name] = self.unknown.get(name, 0) + 1
            result = -errno.ENOSYS
        else:
            try:
                result = function(*arguments)
            except LimitReached:
                raise
            except TargetFault:
                result = -errno.EFAULT
            except NoSpace:
                result = -errno.ENOMEM
            except OSError as error:
                result = -(error.errno or errno.EIO)
        self._engine.set(entry.result, result & self._word)

    # -- ending -------------------------------------------------------------------------------------

    def sys_exit(self, status: int, *_: int) -> int:
        raise Ended(status & 0xFF)

    sys_exit_group = sys_exit

    # -- reading and writing ------------------------------------------------------------------------

    def _host(self, fd: int) -> int:
        found = self.descriptors.get(fd & 0xFFFFFFFF)
        if found is None:
            raise OSError(errno.EBADF, "not a descriptor of the guest's")
        return found

    def sys_read(self, fd: int, buffer: int, count: int, *_: int) -> int:
        host = self._host(fd)
        views = [self.memory.view(buffer, min(count, MOST), WRITE)]
        self._wait(host)
        got = os.readv(host, views)  # fills the guest's own bytes
        self.memory.changed(buffer, got)
        return got

    def sys_readv(self, fd: int, vector: int, count: int, *_: int) -> int:
        host = self._host(fd)
        parts = self._vector(vector, count)
        views = [self.memory.view(start, size, WRITE) for start, size in parts]
        if not views:
            return 0
        self._wait(host)
        got = os.readv(host, views)
        for start, size in parts:
            self.memory.changed(start, size)
        return got

    def sys_write(self, fd: int, buffer: int, count: int, *_: int) -> int:
        host = self._host(fd)
        return self._write(host, [self.memory.view(buffer, min(count, MOST), READ)])

    def sys_writev(self, fd: int, vector: int, count: int, *_: int) -> int:
        host = self._host(fd)
        parts = self._vector(vector, count)
        return self._write(host, [self.memory.view(start, size, READ) for start, size in parts])

    def _write(self, host: int, views: list[memoryview]) -> int:
        try:
            return os.writev(host, views) if views else 0
        except BrokenPipeError:
            raise Ended(
                128 + SIGPIPE
            ) from None  # Python ignores the signal; the guest has the default action

    def _vector(self, address: int, count: int) -> list[tuple[int, int]]:
        """(start, size) of each iovec."""
        if count > IOV_MAX:
            raise OSError(errno.EINVAL, "too many parts")
        words = self._words(address, 2 * count)
        return list(zip(words[::2], words[1::2], strict=True))

    def _words(self, address: int, count: int) -> tuple[int, ...]:
        width, letter = (8, "Q") if self.cpu.bits == 64 else (4, "I")
        view = self.memory.view(address, count * width, READ)
        return struct.unpack(f"{self.cpu.order}{count}{letter}", view)

    # -- memory -------------------------------------------------------------------------------------

    def sys_brk(self, end: int, *_: int) -> int:
        """The end of the heap; where it was, if it cannot be there."""
        if not self._heap:
            self._heap = self._break = self.memory.reserve(HEAP)
        if self._heap <= end <= self._heap + HEAP:
            have, want = page_up(self._break), page_up(end)
            try:
                if want > have:
                    self.memory.map(have, want - have, READ | WRITE)
            except NoSpace:
                return self._break
            if want < have:
                self.memory.unmap(want, have - want)
                self.memory.reserve(have - want, PAGE, want)
            self._break = end
        return self._break

    def sys_mmap2(
        self, start: int, size: int, rights: int, flags: int, fd: int, offset: int
    ) -> int:
        """The offset counts pages."""
        return self.sys_mmap(start, size, rights, flags, fd, offset * PAGE)

    def old_mmap(self, arguments: int, *_: int) -> int:
        return self.sys_mmap(*self._words(arguments, 6))

    def sys_mmap(self, start: int, size: int, rights: int, flags: int, fd: int, offset: int) -> int:
        """Anonymous memory only: the three descriptors are nothing that is mapped."""
        if not flags & MAP_ANONYMOUS:
            self._host(fd)
            return -errno.ENODEV
        size = page_up(size)
        if not 0 < size < self.memory.size or offset % PAGE or flags & 3 not in (1, 2, 3):
            return -errno.EINVAL if size < self.memory.size else -errno.ENOMEM
        fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
        if fixed:
            if start % PAGE:
                return -errno.EINVAL
            if start < self.memory.first:
                return -errno.EPERM
            if start + size > self.memory.size - PAGE:
                return -errno.ENOMEM
            if flags & MAP_FIXED_NOREPLACE and self.memory.reserved.pieces(start, start + size):
                return -errno.EEXIST
        else:
            start = self._choose(start & -PAGE, size)
        self.memory.map(start, size, _effective(rights))
        return start

    def _choose(self, hint: int, size: int) -> int:
        if hint:
            try:
                return self.memory.reserve(size, PAGE, hint)
            except NoSpace:
                pass
        return self.memory.reserve(size, high=True)

    def sys_munmap(self, start: int, size: int, *_: int) -> int:
        size = page_up(size)
        if start % PAGE or not 0 < size <= self.memory.size or start + size > self.memory.size:
            return -errno.EINVAL
        self.memory.unmap(start, size)
        return 0

    def sys_mprotect(self, start: int, size: int, rights: int, *_: int) -> int:
        if start % PAGE or rights & ~PROTECTIONS:
            return -errno.EINVAL
        size = page_up(size)
        if not self.memory.covers(start, size):
            return -errno.ENOMEM
        self.memory.protect(start, size, _effective(rights))
        return 0


def _effective(rights: int) -> int:
    """What can be written or executed can be read (the pages of most CPUs have no other way)."""
    rights &= PROTECTIONS
    return rights | READ if rights else 0

"""Memory: brk, mmap and its like (man 2 mmap)."""

from __future__ import annotations

import errno
import os
import stat

from rtld.backends.emulated.linux import mips
from rtld.backends.emulated.linux.calls import Calls, int32
from rtld.backends.emulated.linux.mips import bits_in
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE
from rtld.core.space import page_up
from rtld.errors import NoSpace

HEAP = 1 << 28  # addresses kept for brk
# fmt: off
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 0x01, 0x02, 0x10, 0x20, 0x100000
MAP_STACK = 0x20000
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
PROTECTIONS = READ | WRITE | EXECUTE
GROWSDOWN = 0x01000000  # PROT_GROWSDOWN
# fmt: on


class MemoryCalls(Calls):
    """``heap``: where brk begins; ``_break``: where it is."""

    heap = 0
    _break = 0

    def host(self, fd: int) -> int:
        raise NotImplementedError

    def name_of(self, fd: int) -> str:
        """The guest's path of a descriptor."""
        raise NotImplementedError

    def set_heap(self, start: int) -> None:
        """The heap of a program begins here, behind its segments."""
        self.heap = self._break = (
            self.memory.reserve(HEAP, PAGE, start) if start else self.memory.reserve(HEAP)
        )

    def sys_brk(self, end: int, *_: int) -> int:
        """The end of the heap; where it was, if it cannot be there."""
        if not self.heap:
            self.set_heap(0)
        if self.heap <= end <= self.heap + HEAP:
            have, want = page_up(self._break), page_up(end)
            try:
                if want > have:
                    self.memory.map(have, want - have, READ | WRITE)
                    self.memory.label(have, want - have, "[heap]", have - self.heap)
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
        return self.sys_mmap(*self.words(arguments, 6))

    def sys_mmap(self, start: int, size: int, rights: int, flags: int, fd: int, offset: int) -> int:
        """Anonymous memory, or a file's."""
        if self.is_mips:
            flags = bits_in(flags, mips.MAP, 0x1F)
        anonymous = flags & MAP_ANONYMOUS
        host = -1 if anonymous else self.host(fd)
        size = page_up(size)
        if not 0 < size < self.memory.size or offset % PAGE or flags & 3 not in (1, 2, 3):
            return -errno.EINVAL if size < self.memory.size else -errno.ENOMEM
        if not anonymous and not stat.S_ISREG(os.fstat(host).st_mode):
            return -errno.ENODEV
        if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
            problem = self._check_fixed(start, size, flags)
            if problem:
                return -problem
        else:
            start = self._choose(start & -PAGE, size, stack=bool(flags & MAP_STACK))
        shared = bool(flags & 1)
        if anonymous:
            self.memory.map(start, size, effective(rights), shared=shared)
            if flags & MAP_STACK:
                self.memory.label(start, size, "[stack of a thread]")
        else:
            self.memory.map_file(start, size, effective(rights), host, offset, shared=shared)
            self.memory.label(start, size, self.name_of(fd), offset)
        return start

    def _check_fixed(self, start: int, size: int, flags: int) -> int:
        if start % PAGE:
            return errno.EINVAL
        if start < self.memory.first:
            return errno.EPERM
        if start + size > self.memory.size - PAGE:
            return errno.ENOMEM
        if self.machine.is_kernels(start, size):
            return errno.ENOMEM
        if flags & MAP_FIXED_NOREPLACE and self.memory.reserved.pieces(start, start + size):
            return errno.EEXIST
        return 0

    def _choose(self, hint: int, size: int, *, stack: bool) -> int:
        if stack:
            return self.memory.reserve_stack(size)
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
        if self.machine.is_kernels(start, size):
            return -errno.EINVAL
        self.memory.unmap(start, size)
        return 0

    def sys_mprotect(self, start: int, size: int, rights: int, *_: int) -> int:
        if rights & GROWSDOWN:
            rights &= ~GROWSDOWN
            below = self.memory.regions.pieces(start, start + 1)
            if not below:
                return -errno.ENOMEM
        if start % PAGE or rights & ~PROTECTIONS:
            return -errno.EINVAL
        size = page_up(size)
        if not size:
            return 0
        if not self.memory.covers(start, size):
            return -errno.ENOMEM
        if self.machine.is_kernels(start, size):
            return -errno.EACCES
        self.memory.protect(start, size, effective(rights))
        return 0

    def sys_mremap(self, old: int, size: int, new: int, flags: int, target: int, *_: int) -> int:
        size, new = page_up(size), page_up(new)
        if old % PAGE or not new or flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED) or not size:
            return -errno.EINVAL
        rights_there = {rights for _, _, rights in self.memory.regions.pieces(old, old + size)}
        if not self.memory.covers(old, size) or len(rights_there) > 1:
            return -errno.EFAULT
        if self.machine.is_kernels(old, size):
            return -errno.EFAULT
        if new <= size and not flags & MREMAP_FIXED:
            if new < size:
                self.memory.unmap(old + new, size - new)
            return old
        (rights,) = rights_there
        shared = self.memory.is_shared(old)
        if (
            not shared
            and not flags & MREMAP_FIXED
            and not self.memory.reserved.pieces(old + size, old + new)
        ):
            try:
                self.memory.reserve(new - size, PAGE, old + size)
            except NoSpace:
                pass
            else:
                self.memory.map(old + size, new - size, rights)
                return old
        if not flags & MREMAP_MAYMOVE:
            return -errno.ENOMEM
        if flags & MREMAP_FIXED:
            problem = self._check_fixed(target, new, MAP_FIXED)
            if problem or (target < old + size and old < target + new):
                return -(problem or errno.EINVAL)
        else:
            target = self.memory.reserve(new, high=True)
        if shared:
            what, offset = self.memory.place(old) or ("", 0)
            self.memory.map_again(old, target, new)
            self.memory.label(target, new, what, offset)
            self.memory.unmap(old, size)
            return target
        self.memory.map(target, new, READ | WRITE)
        count = min(size, new)
        self.memory.write(target, self.memory.view(old, count))
        self.memory.protect(target, new, rights)
        self.memory.unmap(old, size)
        return target

    def sys_madvise(self, start: int, size: int, advice: int, *_: int) -> int:
        if start % PAGE:
            return -errno.EINVAL
        size = page_up(size)
        if self.machine.is_kernels(start, size):
            return -errno.EINVAL
        if int32(advice) == 4:  # MADV_DONTNEED
            for low, high, _rights in self.memory.regions.pieces(start, start + size):
                self.memory.discard(low, high - low)
        return 0

    def sys_msync(self, *_: int) -> int:
        return 0

    sys_mlock = sys_munlock = sys_mlockall = sys_munlockall = sys_mlock2 = sys_msync

    def sys_mincore(self, start: int, size: int, result: int, *_: int) -> int:
        if not self.memory.covers(start, page_up(size)):
            return -errno.ENOMEM
        self.put(result, b"\1" * (page_up(size) // PAGE))
        return 0

    def sys_membarrier(self, command: int, *_: int) -> int:
        """One CPU runs at a time: every barrier holds."""
        return 0

    def sys_riscv_flush_icache(self, start: int, end: int, *_: int) -> int:
        if start < end:
            self.memory.changed(start, end - start)
        return 0

    sys_ARM_cacheflush = sys_riscv_flush_icache


def effective(rights: int) -> int:
    """What can be written or executed can be read (the pages of most CPUs have no other way)."""
    rights &= PROTECTIONS
    return rights | READ if rights else 0

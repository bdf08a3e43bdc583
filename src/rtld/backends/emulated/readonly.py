"""The system calls that a C library needs to start and to load its own files: names lead into one directory, for reading.

``ReadOnly`` adds them to a machine's kernel. Which host file a name is says who made it; nothing is ever written.
"""

from __future__ import annotations

import errno
import os
import struct
import time

from rtld.backends.emulated.kernel import MAP_ANONYMOUS, MAP_FIXED, MOST
from rtld.backends.emulated.memory import PAGE, READ, WRITE
from rtld.core.space import page_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.emulated.machine import Machine

# fmt: off
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
O_ACCMODE, O_CREAT, O_TRUNC = 3, 0o100, 0o1000
PATH_MAX = 4096
DESCRIPTORS = 256
ARCH_SET_FS, ARCH_GET_FS = 0x1002, 0x1003
_LIMITS = {3: (8 << 20, 8 << 20), 7: (DESCRIPTORS, DESCRIPTORS)}  # RLIMIT_STACK, RLIMIT_NOFILE
_TLS_ENTRY = 6  # of the global descriptor table: the first that set_thread_area gives
# fmt: on


class ReadOnly:
    """*find*: an absolute name of the guest's -> the host's path; OSError."""

    def __init__(self, machine: Machine, find: Callable[[str], str]) -> None:
        self.machine = machine
        self.thread_pointer = 0  # of i386, where no register tells
        self._memory = machine.memory
        self._find = find
        self._files: dict[int, int] = {}
        self._order = machine.cpu.order
        self._bits = machine.cpu.bits
        kernel = machine.kernel
        self._anonymous = kernel.sys_mmap
        served = {name: getattr(self, name) for name in dir(self) if name.startswith("sys_")}
        for number, name in kernel._names.items():
            if f"sys_{name}" in served:
                kernel._served[number] = served[f"sys_{name}"]
        kernel.sys_mmap = self.mmap  # type: ignore[method-assign]
        for number, name in kernel._names.items():
            if name == "mmap" and machine.cpu.name not in ("i386", "s390x"):
                kernel._served[number] = self.mmap
        if machine.cpu.name == "i386":
            self._set_up_segments()

    def close(self) -> None:
        """Close what is open."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    # -- files ----------------------------------------------------------------------------------------

    def _string(self, address: int) -> str:
        out = b""
        while len(out) < PATH_MAX:
            size = PAGE - (address + len(out)) % PAGE
            part = bytes(self._memory.view(address + len(out), size, READ))
            end = part.find(0)
            if end >= 0:
                return os.fsdecode(out + part[:end])
            out += part
        raise OSError(errno.ENAMETOOLONG, "name")

    def _name(self, address: int) -> str:
        name = self._string(address)
        if not name.startswith("/"):
            raise OSError(errno.ENOENT, "only absolute names lead to files here")
        return self._find(name)

    def _host(self, fd: int) -> int:
        found = self._files.get(fd & 0xFFFFFFFF)
        if found is None:
            found = self.machine.kernel.descriptors.get(fd & 0xFFFFFFFF)
        if found is None:
            raise OSError(errno.EBADF, "descriptor")
        return found

    def sys_openat(self, _folder: int, name: int, flags: int, *_: int) -> int:
        """Regular files and directories, for reading."""
        if flags & O_ACCMODE or flags & (O_CREAT | O_TRUNC):
            return -errno.EROFS
        path = self._name(name)
        used = self._files.keys() | self.machine.kernel.descriptors.keys()
        number = next(n for n in range(DESCRIPTORS + 1) if n not in used)
        if number == DESCRIPTORS:
            return -errno.EMFILE
        self._files[number] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return number

    def sys_open(self, name: int, flags: int, *_: int) -> int:
        return self.sys_openat(AT_FDCWD, name, flags)

    def sys_close(self, fd: int, *_: int) -> int:
        found = self._files.pop(fd & 0xFFFFFFFF, None)
        if found is None:
            return -errno.EBADF
        os.close(found)
        return 0

    def sys_read(self, fd: int, buffer: int, count: int, *rest: int) -> int:
        if fd & 0xFFFFFFFF not in self._files:
            return self.machine.kernel.sys_read(fd, buffer, count, *rest)
        got = os.readv(self._host(fd), [self._memory.view(buffer, min(count, MOST), WRITE)])
        self._memory.changed(buffer, got)
        return got

    def sys_pread64(self, fd: int, buffer: int, count: int, *offset: int) -> int:
        view = self._memory.view(buffer, min(count, MOST), WRITE)
        got = os.preadv(self._host(fd), [view], self._wide(offset))
        self._memory.changed(buffer, got)
        return got

    def _wide(self, words: tuple[int, ...]) -> int:
        """A 64-bit argument: one register, or an (on ARM even) pair of them."""
        if self._bits == 64:
            return words[0]
        low, high = words[1:3] if self.machine.cpu.name == "arm" else words[:2]
        return high << 32 | low

    def sys_lseek(self, fd: int, offset: int, whence: int, *_: int) -> int:
        signed = offset - (1 << self._bits) if offset >> self._bits - 1 else offset
        return os.lseek(self._host(fd), signed, whence & 0xFFFFFFFF)

    def sys__llseek(self, fd: int, high: int, low: int, result: int, whence: int, *_: int) -> int:
        offset = high << 32 | low
        offset -= (1 << 64) if offset >> 63 else 0
        at = os.lseek(self._host(fd), offset, whence)
        self._memory.write(result, struct.pack(f"{self._order}q", at))
        return 0

    def mmap(self, start: int, size: int, rights: int, flags: int, fd: int, offset: int) -> int:
        """A file's bytes are copied: nothing that is written reaches the file."""
        if flags & MAP_ANONYMOUS:
            return self._anonymous(start, size, rights, flags, fd, offset)
        host = self._host(fd)
        if offset % PAGE or not size:
            return -errno.EINVAL
        at = self._anonymous(start, size, rights, flags & MAP_FIXED | MAP_ANONYMOUS | 2, 0, 0)
        if at < 0:
            return at
        left, place = size, at
        while left > 0:
            got = os.preadv(host, [self._memory.view(place, left)], offset)
            if not got:
                break
            place, left, offset = place + got, left - got, offset + got
        self._memory.changed(at, page_up(size))
        return at

    def _status(self, status: os.stat_result) -> bytes:
        """struct stat of the 64-bit CPUs; 32-bit ones ask by statx."""
        order = self._order
        head = struct.pack(f"{order}QQ", status.st_dev, status.st_ino)
        if self.machine.cpu.name in ("x86_64", "s390x"):
            body = struct.pack(
                f"{order}QIIIIQq", status.st_nlink, status.st_mode, 0, 0, 0, 0, status.st_size
            )
            return (head + body).ljust(144, b"\0")
        body = struct.pack(
            f"{order}IIIIQQq", status.st_mode, status.st_nlink, 0, 0, 0, 0, status.st_size
        )
        return (head + body).ljust(128, b"\0")

    def sys_fstat(self, fd: int, buffer: int, *_: int) -> int:
        if self._bits == 32:
            return -errno.ENOSYS
        self._memory.write(buffer, self._status(os.fstat(self._host(fd))))
        return 0

    def _stat(self, folder: int, name: int, flags: int) -> os.stat_result:
        if flags & AT_EMPTY_PATH and not self._string(name):
            return os.fstat(self._host(folder))
        return os.stat(self._name(name))

    def sys_newfstatat(self, folder: int, name: int, buffer: int, flags: int, *_: int) -> int:
        self._memory.write(buffer, self._status(self._stat(folder, name, flags)))
        return 0

    def sys_stat(self, name: int, buffer: int, *_: int) -> int:
        return -errno.ENOSYS if self._bits == 32 else self.sys_newfstatat(AT_FDCWD, name, buffer, 0)

    def sys_statx(
        self, folder: int, name: int, flags: int, _mask: int, buffer: int, *_: int
    ) -> int:
        status = self._stat(folder, name, flags)
        order = self._order
        out = struct.pack(
            f"{order}IIQIIIHHQQQQ", 0x7FF, PAGE, 0, status.st_nlink, 0, 0, status.st_mode, 0,
            status.st_ino, status.st_size, status.st_blocks, 0,
        )  # fmt: skip
        out = out.ljust(0x88, b"\0") + struct.pack(
            f"{order}II", os.major(status.st_dev), os.minor(status.st_dev)
        )
        self._memory.write(buffer, out.ljust(256, b"\0"))
        return 0

    def sys_faccessat(self, _folder: int, name: int, mode: int, *_: int) -> int:
        os.stat(self._name(name))
        return -errno.EROFS if mode & 2 else 0

    sys_faccessat2 = sys_faccessat

    def sys_access(self, name: int, mode: int, *_: int) -> int:
        return self.sys_faccessat(AT_FDCWD, name, mode)

    def sys_readlinkat(self, *_: int) -> int:
        return -errno.EINVAL

    def sys_ioctl(self, *_: int) -> int:
        return -errno.ENOTTY

    def sys_fcntl(self, *_: int) -> int:
        return 0

    sys_fcntl64 = sys_fcntl

    # -- the process ----------------------------------------------------------------------------------

    def sys_set_tid_address(self, *_: int) -> int:
        return 1

    def _nothing(self, *_: int) -> int:
        return 0

    # fmt: off
    sys_set_robust_list = sys_rt_sigprocmask = sys_rt_sigaction = sys_sigaltstack = sys_madvise = sys_sched_yield = _nothing
    sys_getuid = sys_geteuid = sys_getgid = sys_getegid = sys_getuid32 = sys_geteuid32 = sys_getgid32 = sys_getegid32 = _nothing
    sys_futex = sys_futex_time64 = _nothing  # one thread: nobody waits, and nobody is to be woken
    sys_getpid = sys_gettid = sys_set_tid_address
    # fmt: on

    def sys_uname(self, buffer: int, *_: int) -> int:
        """struct new_utsname: six fields of 65 bytes."""
        names = ("Linux", "guest", "6.1.0", "#1", self.machine.cpu.name, "(none)")
        self._memory.write(buffer, b"".join([name.encode().ljust(65, b"\0") for name in names]))
        return 0

    def sys_prlimit64(self, _pid: int, which: int, _new: int, old: int, *_: int) -> int:
        if old:
            limits = _LIMITS.get(which, ((1 << 64) - 1, (1 << 64) - 1))
            self._memory.write(old, struct.pack(f"{self._order}QQ", *limits))
        return 0

    def sys_ugetrlimit(self, which: int, old: int, *_: int) -> int:
        limits = _LIMITS.get(which, ((1 << 32) - 1, (1 << 32) - 1))
        self._memory.write(old, struct.pack(f"{self._order}II", *limits))
        return 0

    def sys_getrandom(self, buffer: int, count: int, *_: int) -> int:
        count = min(count, 1 << 20)
        self._memory.write(buffer, os.urandom(count))
        return count

    def _time(self, buffer: int, letters: str, nanoseconds: int, unit: int) -> int:
        seconds, rest = divmod(nanoseconds, 10**9)
        if buffer:
            self._memory.write(buffer, struct.pack(self._order + letters, seconds, rest // unit))
        return 0

    def _clock(self, which: int) -> int:
        return time.time_ns() if which in (0, 5) else time.monotonic_ns()

    def sys_clock_gettime(self, which: int, buffer: int, *_: int) -> int:
        return self._time(buffer, "qq" if self._bits == 64 else "ii", self._clock(which), 1)

    def sys_clock_gettime64(self, which: int, buffer: int, *_: int) -> int:
        return self._time(buffer, "qq", self._clock(which), 1)

    def sys_gettimeofday(self, buffer: int, *_: int) -> int:
        return self._time(buffer, "qq" if self._bits == 64 else "ii", time.time_ns(), 1000)

    # -- the thread pointer ---------------------------------------------------------------------------

    def sys_arch_prctl(self, code: int, address: int, *_: int) -> int:
        engine = self.machine.engine
        if code == ARCH_SET_FS:
            engine.set("fs_base", address)
            return 0
        if code == ARCH_GET_FS:
            self._memory.write(address, struct.pack("<Q", engine.get("fs_base")))
            return 0
        return -errno.EINVAL

    def sys_ARM_set_tls(self, address: int, *_: int) -> int:
        self.machine.engine.set("c13_c0_3", address)
        return 0

    def _set_up_segments(self) -> None:
        """i386: a descriptor table with flat code and data, and room for the thread's segment."""
        memory, engine = self._memory, self.machine.engine
        self._table = memory.reserve(PAGE, high=True)
        memory.map(self._table, PAGE, READ | WRITE)
        memory.write(self._table + 8, _descriptor(0, 0x9B) + _descriptor(0, 0x93))
        engine._uc.reg_write(engine._numbers["gdtr"], (0, self._table, 8 * 16 - 1, 0))
        for name, selector in (("cs", 8), ("ds", 16), ("es", 16), ("ss", 16)):
            engine.set(name, selector)

    def sys_set_thread_area(self, description: int, *_: int) -> int:
        """struct user_desc: entry number (-1: choose one), base, limit, flags."""
        number, base = struct.unpack("<iI", self._memory.view(description, 8))
        if number == -1:
            number = _TLS_ENTRY
            self._memory.write(description, struct.pack("<i", number))
        if number != _TLS_ENTRY:
            return -errno.EINVAL
        self.thread_pointer = base
        self._memory.write(self._table + 8 * number, _descriptor(base, 0xF3))
        return 0


def _descriptor(base: int, access: int) -> bytes:
    """A segment of 4 GiB from *base* on (Intel SDM 3A, 3.4.5)."""
    return struct.pack(
        "<HHBBBB", 0xFFFF, base & 0xFFFF, base >> 16 & 0xFF, access, 0xCF, base >> 24
    )

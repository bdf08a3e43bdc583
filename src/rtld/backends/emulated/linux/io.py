"""Descriptors: reading, writing, seeking, pipes. A guest's descriptor is a number that stands for one of the host's."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import struct
from signal import SIGPIPE

from rtld.backends.emulated.linux import mips
from rtld.backends.emulated.linux.calls import Calls, Sleep, failed, int32
from rtld.backends.emulated.linux.mips import bits_in, bits_out
from rtld.backends.emulated.memory import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rtld.backends.emulated.linux.signalfd import SignalFile

MOST = 0x7FFFF000  # bytes of one read or write (MAX_RW_COUNT)
IOV_MAX = 1024
PIECE = 1 << 16  # of a write that another thread may have to make room for

# fmt: off
FLAGS_GENERIC = {"directory": 0o200000, "nofollow": 0o400000, "direct": 0o40000, "largefile": 0o100000}
FLAGS_ARM     = {"directory": 0o40000,  "nofollow": 0o100000, "direct": 0o200000, "largefile": 0o400000}
O_CLOEXEC, O_NONBLOCK = 0o2000000, 0o4000
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW = 0, 1, 2, 3, 4, 5, 6, 7
F_SETOWN, F_GETOWN, F_GETLK64, F_SETLK64, F_SETLKW64 = 8, 9, 12, 13, 14
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS = 1030, 1031, 1032, 1033, 1034
TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGPGRP, TIOCSPGRP, TIOCGWINSZ = 0x5401, 0x5402, 0x5403, 0x5404, 0x540F, 0x5410, 0x5413
FIONREAD, FIONBIO, FIONCLEX, FIOCLEX = 0x541B, 0x5421, 0x5450, 0x5451
# fmt: on


class Io(Calls):
    """Descriptors. ``descriptors``: the guest's -> the host's; what is in ``owned`` is closed with the guest's."""

    descriptors: dict[int, int]
    owned: set[int]
    cloexec: set[int]
    names: dict[int, str]  # descriptor of the guest's -> the guest's path of what it is
    counters: set[int]  # of the host's: eventfd, timerfd: what is read and written is a number
    notices: set[int]  # of the host's: inotify
    #: Of the host's: of files that are not the guest's to change: rights, owners and times of what it got from outside,
    #: of devices, of what it may only read, stay as they are, whoever is root.
    fixed: set[int]
    #: Of the host's, and what each is: epoll -> the descriptors it watches -> the guest's word for each; signalfd; pidfd -> the process.
    epolls: dict[int, dict[int, int]]
    signalfds: dict[int, SignalFile]
    pidfds: dict[int, int]
    limit_files = 1024

    def set_descriptors(self, descriptors: Mapping[int, int]) -> None:
        """Those the program begins with; they stay open here when the guest closes them."""
        self.descriptors = dict(descriptors)
        self.owned = set()
        self.cloexec = set()
        self.names = {}
        self.counters = set()
        self.notices = set()
        self.fixed = set(descriptors.values())
        self.epolls, self.signalfds, self.pidfds = {}, {}, {}

    def host(self, fd: int) -> int:
        """The host's descriptor for the guest's. EBADF."""
        found = self.descriptors.get(fd & 0xFFFFFFFF)
        if found is None:
            raise failed(errno.EBADF)
        return found

    def name_of(self, fd: int) -> str:
        """The guest's path of a descriptor."""
        return self.names.get(fd & 0xFFFFFFFF, "")

    def add(self, host: int, *, cloexec: bool = False, name: str = "", least: int = 0) -> int:
        """The lowest free number for a host descriptor, which is the guest's from now on."""
        number = least
        while number in self.descriptors:
            number += 1
        if number >= self.limit_files:
            self.closed(host)
            os.close(host)
            raise failed(errno.EMFILE)
        self.descriptors[number] = host
        self.owned.add(host)
        if cloexec:
            self.cloexec.add(number)
        if name:
            self.names[number] = name
        return number

    def drop(self, fd: int) -> None:
        """Close a descriptor of the guest's."""
        host = self.descriptors.pop(fd)
        self.cloexec.discard(fd)
        self.names.pop(fd, None)
        if host in self.owned:
            self.owned.discard(host)
            self.closed(host)
            os.close(host)
        elif self.machine.process.is_child and host not in self.descriptors.values():
            # What the first process was given is not closed, but let go: whoever reads from a pipe is not to wait for a
            # daemon that has closed its end. The number is kept, as it is this Python's standard output, too.
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(null, host, inheritable=False)
            os.close(null)

    def closed(self, host: int) -> None:
        """A descriptor of the host's means nothing any more."""
        for kind in (self.counters, self.notices, self.fixed):
            kind.discard(host)
        for known in (self.epolls, self.signalfds, self.pidfds):
            known.pop(host, None)

    def copied(self, host: int, copy: int) -> None:
        """*copy* means what *host* does."""
        for kind in (self.counters, self.notices, self.fixed):
            if host in kind:
                kind.add(copy)
        meanings: tuple[dict[int, Any], ...] = (self.epolls, self.signalfds, self.pidfds)
        for known in meanings:
            if host in known:
                known[copy] = known[host]

    def changeable(self, fd: int) -> int:
        """The host's descriptor of a file whose rights, owner and times the guest may change. EPERM."""
        host = self.host(fd)
        if host in self.fixed:
            raise failed(errno.EPERM)
        return host

    def ready(self, host: int, *, write: bool = False) -> None:
        """Go on if reading (writing) would not block; else Sleep, or EAGAIN for who does not want to wait."""
        poll = select.poll()
        poll.register(host, select.POLLOUT if write else select.POLLIN)
        if poll.poll(0):
            return
        if os.get_blocking(host):
            self.sleep_until_ready(host, write=write)

    def sleep_until_ready(self, host: int, *, write: bool) -> None:
        """Sleep until there is something to read, or room to write."""
        raise Sleep(write=(host,)) if write else Sleep(read=(host,))

    # -- read, write --------------------------------------------------------------------------------

    def sys_read(self, fd: int, buffer: int, count: int, *_: int) -> int:
        host = self.host(fd)
        views = [self.memory.view(buffer, min(count, MOST), WRITE)] if count else []
        self.ready(host)
        got = os.readv(host, views) if views else 0  # fills the guest's own bytes
        if self.order == "big" and (host in self.counters or host in self.notices):
            self._turn_around(host, views[0], got)
        self.memory.changed(buffer, got)
        return got

    def sys_readv(self, fd: int, vector: int, count: int, *_: int) -> int:
        return self._readv(self.host(fd), self.vector(vector, count), None)

    def _readv(self, host: int, parts: list[tuple[int, int]], at: int | None) -> int:
        views = [self.memory.view(start, size, WRITE) for start, size in parts if size]
        if not views:
            return 0
        if at is None:
            self.ready(host)
            got = os.readv(host, views)
        else:
            got = os.preadv(host, views, at)
        for start, size in parts:
            self.memory.changed(start, size)
        return got

    def sys_write(self, fd: int, buffer: int, count: int, *_: int) -> int:
        host = self.host(fd)
        view = self.memory.view(buffer, min(count, MOST), READ) if count else None
        if view is not None and host in self.counters and self.order == "big" and count == 8:
            view = memoryview(bytes(view)[::-1])
        return self._write(host, [view] if view is not None else [])

    def _turn_around(self, host: int, data: memoryview, size: int) -> None:
        """What this computer's kernel has written, in the guest's byte order."""
        if host in self.counters:
            data[:8] = bytes(data[:8])[::-1]
            return
        at = 0
        while at + 16 <= size:
            numbers = struct.unpack_from("=4I", data, at)
            struct.pack_into(">4I", data, at, *numbers)
            at += 16 + numbers[3]

    def sys_writev(self, fd: int, vector: int, count: int, *_: int) -> int:
        host = self.host(fd)
        parts = self.vector(vector, count)
        return self._write(
            host, [self.memory.view(start, size, READ) for start, size in parts if size]
        )

    def _write(self, host: int, views: list[memoryview]) -> int:
        if not views:
            return 0
        if not stat.S_ISREG(os.fstat(host).st_mode):
            self.ready(host, write=True)
            if self.crowded():
                views = [views[0][:PIECE]]
        try:
            return os.writev(host, views)
        except BrokenPipeError:
            self.send_self(int(SIGPIPE))
            raise

    def crowded(self) -> bool:
        """Is there another thread?"""
        return False

    def send_self(self, number: int) -> None:
        """A signal of the program's own doing."""
        raise NotImplementedError

    def vector(self, address: int, count: int) -> list[tuple[int, int]]:
        """(start, size) of each iovec."""
        if count > IOV_MAX:
            raise failed(errno.EINVAL)
        words = self.words(address, 2 * count) if count else ()
        return list(zip(words[::2], words[1::2], strict=True))

    def offset64(self, *rest: int) -> int:
        """The 64-bit offset that begins the remaining arguments; two registers on a 32-bit CPU, ARM: an even one first."""
        if self.bits == 64:
            return self.signed(rest[0])
        return (
            self.pair(rest[1], rest[2])
            if self.cpu.name in ("arm", "mipsel")
            else self.pair(rest[0], rest[1])
        )

    def sys_pread64(self, fd: int, buffer: int, count: int, *rest: int) -> int:
        at = self.offset64(*rest)
        if at < 0:
            raise failed(errno.EINVAL)
        return self._readv(self.host(fd), [(buffer, min(count, MOST))], at)

    def sys_pwrite64(self, fd: int, buffer: int, count: int, *rest: int) -> int:
        at = self.offset64(*rest)
        if at < 0:
            raise failed(errno.EINVAL)
        return (
            os.pwrite(self.host(fd), self.memory.view(buffer, min(count, MOST), READ), at)
            if count
            else 0
        )

    def _position(self, low: int, high: int) -> int:
        return (
            self.signed(low)
            if self.bits == 64
            else self.pair(*((low, high) if self.cpu.order == "<" else (high, low)))
        )

    def sys_preadv(self, fd: int, vector: int, count: int, low: int, high: int, *_: int) -> int:
        return self._readv(self.host(fd), self.vector(vector, count), self._position(low, high))

    def sys_pwritev(self, fd: int, vector: int, count: int, low: int, high: int, *_: int) -> int:
        views = [
            self.memory.view(start, size, READ)
            for start, size in self.vector(vector, count)
            if size
        ]
        return os.pwritev(self.host(fd), views, self._position(low, high)) if views else 0

    def sys_lseek(self, fd: int, offset: int, whence: int, *_: int) -> int:
        host = self.host(fd)
        self.rewind_directory(fd, self.signed(offset))
        return os.lseek(host, self.signed(offset), whence)

    def rewind_directory(self, fd: int, offset: int) -> None:
        """lseek of a directory."""

    def sys__llseek(self, fd: int, high: int, low: int, result: int, whence: int, *_: int) -> int:
        offset = (high << 32 | low) - (1 << 64 if high >> 31 else 0)
        host = self.host(fd)
        self.rewind_directory(fd, offset)
        self.put(result, self.pack("q", os.lseek(host, offset, whence)))
        return 0

    # -- descriptors --------------------------------------------------------------------------------

    def sys_close(self, fd: int, *_: int) -> int:
        self.host(fd)
        self.drop(fd & 0xFFFFFFFF)
        return 0

    def sys_close_range(self, first: int, last: int, flags: int, *_: int) -> int:
        for fd in [fd for fd in self.descriptors if first <= fd <= last]:
            if flags & 4:
                self.cloexec.add(fd)
            else:
                self.drop(fd)
        return 0

    def _dup(self, fd: int) -> tuple[int, str]:
        host = self.host(fd)
        copy = os.dup(host)
        self.copied(host, copy)
        return copy, self.names.get(fd & 0xFFFFFFFF, "")

    def sys_dup(self, fd: int, *_: int) -> int:
        host, name = self._dup(fd)
        return self.add(host, name=name)

    def sys_dup2(self, fd: int, other: int, *_: int) -> int:
        self.host(fd)
        return other if fd == other else self.sys_dup3(fd, other, 0)

    def sys_dup3(self, fd: int, other: int, flags: int, *_: int) -> int:
        other &= 0xFFFFFFFF
        if fd & 0xFFFFFFFF == other:
            raise failed(errno.EINVAL)
        if other >= self.limit_files:
            raise failed(errno.EBADF)
        host, name = self._dup(fd)
        if other in self.descriptors:
            self.drop(other)
        return self.add(
            host, name=name, least=other, cloexec=bool(self.host_flags(flags) & O_CLOEXEC)
        )

    def sys_pipe2(self, result: int, flags: int, *_: int) -> int:
        flags = self.host_flags(flags)
        self.memory.view(result, 8, WRITE)
        ends = [
            self.add(end, cloexec=bool(flags & O_CLOEXEC))
            for end in os.pipe2(flags & O_NONBLOCK | os.O_CLOEXEC)
        ]
        self.put(result, self.pack("II", *ends))
        return 0

    def sys_pipe(self, result: int, *_: int) -> int:
        if not self.is_mips:
            return self.sys_pipe2(result, 0)
        # Both are results: in the registers for them (arch/mips/kernel/syscall.c).
        first, second = (self.add(end) for end in os.pipe2(os.O_CLOEXEC))
        self.engine.set("v1", second)
        return first

    def sys_fcntl(self, fd: int, command: int, argument: int, *_: int) -> int:
        host = self.host(fd)
        fd &= 0xFFFFFFFF
        command = int32(command)
        if self.is_mips:
            command = mips.FCNTL.get(command, command)
        if command in (F_DUPFD, F_DUPFD_CLOEXEC):
            if argument >= self.limit_files:
                raise failed(errno.EINVAL)
            copy, name = self._dup(fd)
            return self.add(copy, name=name, least=argument, cloexec=command == F_DUPFD_CLOEXEC)
        if command == F_GETFD:
            return int(fd in self.cloexec)
        if command == F_SETFD:
            (self.cloexec.add if argument & 1 else self.cloexec.discard)(fd)
            return 0
        if command == F_GETFL:
            return self.guest_flags(fcntl.fcntl(host, fcntl.F_GETFL) & ~os.O_CLOEXEC)
        if command == F_SETFL:
            fcntl.fcntl(host, fcntl.F_SETFL, self.host_flags(argument))
            return 0
        if command in (
            F_GETLK,
            F_SETLK,
            F_SETLKW,
            F_GETLK64,
            F_SETLK64,
            F_SETLKW64,
            F_OFD_GETLK,
            F_OFD_SETLK,
            F_OFD_SETLKW,
        ):
            return self._lock(host, command, argument)
        if command in (F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS):
            return fcntl.fcntl(host, command, argument & 0x7FFFFFFF)
        if command in (F_SETOWN, F_GETOWN):
            return 0
        raise failed(errno.EINVAL)

    def sys_fcntl64(self, fd: int, command: int, argument: int, *_: int) -> int:
        return self.sys_fcntl(fd, command, argument)

    def _lock(self, host: int, command: int, address: int) -> int:
        """struct flock: two shorts, two offsets, a pid."""
        wide = (
            self.bits == 64
            or command in (F_GETLK64, F_SETLK64, F_SETLKW64)
            or command >= F_OFD_GETLK
        )
        form = "hh4xqqi4x" if wide and self.cpu.name != "i386" else "hhqqi" if wide else "hhiii"
        kind, whence, start, length, pid = self.unpack(form, address)
        same = (
            {F_GETLK64: F_GETLK, F_SETLK64: F_SETLK, F_SETLKW64: F_SETLKW}.get(command, command)
            if self.bits == 32
            else command
        )
        waits = same in (F_SETLKW, F_OFD_SETLKW)
        if waits:
            same -= 1
        try:
            got = fcntl.fcntl(
                host,
                same,
                struct.pack(
                    "hh4xqqi4x", kind, whence, start, length, pid if same == F_GETLK else 0
                ),
            )
        except OSError as error:
            if waits and error.errno in (errno.EAGAIN, errno.EACCES):
                import time

                raise Sleep(deadline=time.monotonic() + 0.01) from None
            raise
        if same in (F_GETLK, F_OFD_GETLK):
            self.put(address, self.pack(form, *struct.unpack("hh4xqqi4x", got)))
        return 0

    def sys_flock(self, fd: int, operation: int, *_: int) -> int:
        host = self.host(fd)
        try:
            fcntl.flock(host, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if operation & fcntl.LOCK_NB:
                raise
            import time

            raise Sleep(deadline=time.monotonic() + 0.01) from None
        return 0

    # -- flags of open, which differ ----------------------------------------------------------------

    @property
    def _own_flags(self) -> dict[str, int]:
        return FLAGS_ARM if self.cpu.name in ("arm", "aarch64") else FLAGS_GENERIC

    def host_flags(self, flags: int) -> int:
        """O_* of this CPU as the host has them."""
        if self.is_mips:
            return bits_in(flags, mips.OPEN, 0o3)
        own = self._own_flags
        rest = flags & 0xFFFFFFFF
        result = 0
        for name, bit in own.items():
            if rest & bit:
                result |= {
                    "directory": os.O_DIRECTORY,
                    "nofollow": os.O_NOFOLLOW,
                    "direct": os.O_DIRECT,
                    "largefile": 0,
                }[name]
            rest &= ~bit
        return result | rest

    def guest_flags(self, flags: int) -> int:
        """O_* of the host as this CPU has them."""
        if self.is_mips:
            return bits_out(flags, mips.OPEN, 0o3)
        own = self._own_flags
        result = flags & ~(os.O_DIRECTORY | os.O_NOFOLLOW | os.O_DIRECT | 0o100000)
        for name, bit in (
            ("directory", os.O_DIRECTORY),
            ("nofollow", os.O_NOFOLLOW),
            ("direct", os.O_DIRECT),
            ("largefile", 0o100000),
        ):
            if flags & bit:
                result |= own[name]
        return result

    # -- devices ------------------------------------------------------------------------------------

    def sys_ioctl(self, fd: int, request: int, argument: int, *_: int) -> int:
        host = self.host(fd)
        fd &= 0xFFFFFFFF
        request &= 0xFFFFFFFF
        if self.is_mips:
            request = mips.IOCTL.get(request, request)
        if request in (FIOCLEX, FIONCLEX):
            (self.cloexec.add if request == FIOCLEX else self.cloexec.discard)(fd)
            return 0
        if request == FIONBIO:
            os.set_blocking(host, not self.read32(argument))
            return 0
        if request == FIONREAD:
            self.put(
                argument, self.pack("I", *struct.unpack("I", fcntl.ioctl(host, request, bytes(4))))
            )
            return 0
        if not os.isatty(host):
            raise failed(errno.ENOTTY)
        forms = {
            TCGETS: "4I20s",
            TCSETS: "4I20s",
            TCSETSW: "4I20s",
            TCSETSF: "4I20s",
            TIOCGWINSZ: "4H",
            TIOCGPGRP: "i",
            TIOCSPGRP: "i",
        }
        form = forms.get(request)
        if form is None:
            raise failed(errno.ENOTTY)
        if request in (TCGETS, TIOCGWINSZ, TIOCGPGRP):
            got = fcntl.ioctl(host, request, bytes(struct.calcsize(form)))
            self.put(argument, self.pack(form, *struct.unpack(form, got)))
        else:
            fcntl.ioctl(host, request, struct.pack(form, *self.unpack(form, argument)))
        return 0

    # -- from one to the other ----------------------------------------------------------------------

    def sys_sendfile(self, out: int, source: int, offset: int, count: int, *_: int) -> int:
        return self._sendfile(out, source, offset, count, "l")

    def sys_sendfile64(self, out: int, source: int, offset: int, count: int, *_: int) -> int:
        return self._sendfile(out, source, offset, count, "q")

    def _sendfile(self, out: int, source: int, offset: int, count: int, form: str) -> int:
        target, origin = self.host(out), self.host(source)
        if not stat.S_ISREG(os.fstat(target).st_mode):
            self.ready(target, write=True)
        at = self.unpack(form, offset)[0] if offset else None
        sent = os.sendfile(target, origin, at, min(count, MOST))
        if at is not None:
            self.put(offset, self.pack(form, at + sent))
        return sent

    def sys_copy_file_range(
        self, source: int, at: int, target: int, to: int, count: int, flags: int
    ) -> int:
        here = self.unpack("q", at)[0] if at else None
        there = self.unpack("q", to)[0] if to else None
        done = os.copy_file_range(
            self.host(source), self.host(target), min(count, MOST), here, there
        )
        if here is not None:
            self.put(at, self.pack("q", here + done))
        if there is not None:
            self.put(to, self.pack("q", there + done))
        return done

    def sys_fsync(self, fd: int, *_: int) -> int:
        os.fsync(self.host(fd))
        return 0

    sys_fdatasync = sys_fsync

    def sys_sync(self, *_: int) -> int:
        return 0

    def sys_fadvise64(self, fd: int, *_: int) -> int:
        self.host(fd)
        return 0

    sys_fadvise64_64 = sys_arm_fadvise64_64 = sys_readahead = sys_fadvise64

    def sys_ftruncate(self, fd: int, size: int, *_: int) -> int:
        os.ftruncate(self.host(fd), self.signed(size))
        return 0

    def sys_ftruncate64(self, fd: int, *rest: int) -> int:
        os.ftruncate(self.host(fd), self.offset64(*rest))
        return 0

    def sys_fallocate(self, fd: int, mode: int, *rest: int) -> int:
        if mode:
            raise failed(errno.EOPNOTSUPP)
        low = rest[:4] if self.bits == 32 else rest
        start = self.signed(low[0]) if self.bits == 64 else self.pair(low[0], low[1])
        length = self.signed(low[1]) if self.bits == 64 else self.pair(low[2], low[3])
        os.posix_fallocate(self.host(fd), start, length)
        return 0

"""signalfd: signals that are read from a descriptor (fs/signalfd.c).

Signals wait in lists of ours, so the descriptor is an eventfd of the host's that says only whether there is something to read:
poll, select and epoll, which ask the host, find it ready when it is. It is brought up to date before anybody asks.
"""

from __future__ import annotations

import errno
import os
import select

from rtld.backends.emulated.linux.calls import Sleep, failed, int32
from rtld.backends.emulated.linux.frames import NEVER
from rtld.backends.emulated.linux.io import O_CLOEXEC, O_NONBLOCK
from rtld.backends.emulated.linux.process import Processes
from rtld.backends.emulated.linux.signals import SIGCHLD, SYNCHRONOUS
from rtld.backends.emulated.linux.ucontext import FAULTS, SI_TIMER, SI_USER, Signal
from rtld.backends.emulated.memory import WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.linux.tasks import Task

RECORD = 128  # bytes of a struct signalfd_siginfo
_MOST = 1024  # records of one read


class SignalFile:
    """What descriptors that are copies of one another share. ``told``: how many signals had arrived when it was last made ready."""

    __slots__ = ("mask", "told")

    def __init__(self, mask: int) -> None:
        self.mask = mask
        self.told = 0


class SignalFiles(Processes):
    """Calls for them, and for what reads or waits for them."""

    # -- making one ---------------------------------------------------------------------------------

    def sys_signalfd4(self, fd: int, mask: int, size: int, flags: int, *_: int) -> int:
        flags = self.host_flags(flags)
        if size != self.mask_size or flags & ~(O_CLOEXEC | O_NONBLOCK):
            raise failed(errno.EINVAL)
        wanted = self.read_mask(mask) & ~NEVER
        if int32(fd) != -1:
            known = self.signalfds.get(self.host(fd))
            if known is None:
                raise failed(errno.EINVAL)
            known.mask = wanted
            return int32(fd)
        host = os.eventfd(0, flags & O_NONBLOCK | os.EFD_CLOEXEC)
        self.signalfds[host] = SignalFile(wanted)
        return self.add(host, cloexec=bool(flags & O_CLOEXEC))

    def sys_signalfd(self, fd: int, mask: int, size: int, *_: int) -> int:
        return self.sys_signalfd4(fd, mask, size, 0)

    def born_files(self) -> None:
        """In a child: its own signals are what it reads, and the parent's bell is the parent's."""
        bells: dict[SignalFile, int] = {}
        for host, file in self.signalfds.items():
            if file not in bells:
                flags = 0 if os.get_blocking(host) else os.EFD_NONBLOCK
                bells[file] = os.eventfd(0, flags | os.EFD_CLOEXEC)
            os.dup2(bells[file], host, inheritable=False)
        for bell in bells.values():
            os.close(bell)

    # -- is there something? ------------------------------------------------------------------------

    def ring(self, tasks: list[Task]) -> None:
        """Make those ready that have a signal for one of the *tasks*, and the others not."""
        for host, file in self.signalfds.items():
            ready = any(
                file.mask >> each.number - 1 & 1
                for waiting in (self.pending, *(task.pending for task in tasks))
                for each in waiting
            )
            poll = select.poll()
            poll.register(host, select.POLLIN)
            if ready and (file.told != self.arrivals or not poll.poll(0)):
                file.told = self.arrivals  # one that is watched for changes (EPOLLET) sees each
                os.eventfd_write(host, 1)
            elif not ready and poll.poll(0):
                os.eventfd_read(host)

    def ring_sleepers(self) -> None:
        """The same for all who sleep until one of them is ready, or an epoll that watches one."""
        hosts = {
            *self.signalfds,
            *(host for host, known in self.epolls.items() if known.keys() & self.signalfds.keys()),
        }
        self.ring(
            [task for task in self.tasks if task.sleep is not None and hosts & {*task.sleep.read}]
        )

    # -- reading ------------------------------------------------------------------------------------

    def _signal_file(self, fd: int) -> SignalFile | None:
        if not self.signalfds:
            return None
        return self.signalfds.get(self.descriptors.get(fd & 0xFFFFFFFF, -1))

    def sys_read(self, fd: int, buffer: int, count: int, *_: int) -> int:
        file = self._signal_file(fd)
        if file is None:
            return super().sys_read(fd, buffer, count)
        return self._read_signals(fd, file, buffer, count)

    def sys_readv(self, fd: int, vector: int, count: int, *_: int) -> int:
        file = self._signal_file(fd)
        if file is None:
            return super().sys_readv(fd, vector, count)
        parts = [part for part in self.vector(vector, count) if part[1]]
        return self._read_signals(fd, file, *parts[0]) if parts else 0

    def sys_write(self, fd: int, buffer: int, count: int, *_: int) -> int:
        if self._signal_file(fd) is not None:
            raise failed(errno.EINVAL)
        return super().sys_write(fd, buffer, count)

    def sys_writev(self, fd: int, vector: int, count: int, *_: int) -> int:
        if self._signal_file(fd) is not None:
            raise failed(errno.EINVAL)
        return super().sys_writev(fd, vector, count)

    def _read_signals(self, fd: int, file: SignalFile, buffer: int, size: int) -> int:
        count = min(size // RECORD, _MOST)
        if not count:
            raise failed(errno.EINVAL)
        self.memory.view(buffer, count * RECORD, WRITE)  # before a signal is lost
        done = 0
        while done < count:
            chosen = self._dequeue(file.mask)
            if chosen is None:
                break
            self.put(buffer + done * RECORD, self._record(chosen))
            done += 1
        if not done:
            if not os.get_blocking(self.host(fd)):
                raise failed(errno.EAGAIN)
            raise Sleep(signals=file.mask)
        return done * RECORD

    def _dequeue(self, mask: int) -> Signal | None:
        """The thread's own before the process's, faults before others, the lowest number first (kernel/signal.c)."""
        for waiting in (self.task.pending, self.pending):
            found = [each for each in waiting if mask >> each.number - 1 & 1]
            if found:
                chosen = min(found, key=lambda each: (each.number not in SYNCHRONOUS, each.number))
                waiting.remove(chosen)
                self.taken(chosen)
                return chosen
        return None

    def _record(self, signal: Signal) -> bytes:
        """A struct signalfd_siginfo: which of its fields say something depends on where the signal comes from."""
        number, code, pid, uid, value, extra = signal
        sender, tid, overrun, status, address, pointer = (pid, uid), 0, 0, 0, 0, 0
        if code == SI_TIMER:
            sender, tid, overrun, pointer = (0, 0), pid, extra, value
        elif number in FAULTS and code > 0:
            sender, address = (0, 0), value
        elif number == SIGCHLD and code > 0:
            status = extra
        elif code < SI_USER:
            pointer = value
        # sival_int is the first half of the union, whatever the order of bytes.
        word = pointer >> self.bits - 32 if self.order == "big" else pointer
        head = (self.signal_out(number), 0, self.code_out(code), *sender, 0, tid)
        rest = (0, overrun, 0, status, int32(word), pointer, 0, 0, address)
        return self.pack("IiiIIiIIIIiiQQQQ", *head, *rest).ljust(RECORD, b"\0")

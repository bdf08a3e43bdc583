"""pidfd: descriptors that are processes (kernel/pid.c). They are the host's, and only of processes of the guest's family."""

from __future__ import annotations

import errno
import os
import signal

from rtld.backends.emulated.linux.calls import Sleep, failed, int32
from rtld.backends.emulated.linux.io import F_DUPFD_CLOEXEC, O_NONBLOCK
from rtld.backends.emulated.linux.process import P_PIDFD, WNOHANG
from rtld.backends.emulated.linux.signalfd import SignalFiles
from rtld.backends.emulated.linux.ucontext import SI_TKILL, SI_USER, Signal


class PidFiles(SignalFiles):
    """Calls for them."""

    def new_pidfd(self, pid: int, flags: int) -> int:
        """The guest's descriptor for a process of the family. ESRCH."""
        host = self.machine.process.handle(pid)
        os.set_inheritable(host, False)
        os.set_blocking(host, not flags & O_NONBLOCK)
        self.pidfds[host] = pid
        return self.add(host, cloexec=True)

    def sys_pidfd_open(self, pid: int, flags: int, *_: int) -> int:
        flags, wanted = self.host_flags(flags), int32(pid)
        if flags & ~O_NONBLOCK or wanted <= 0:
            raise failed(errno.EINVAL)
        if wanted != os.getpid() and not self.machine.process.relatives(wanted):
            thread = any(task.tid == wanted for task in self.tasks)
            raise failed(errno.EINVAL if thread else errno.ESRCH)
        return self.new_pidfd(wanted, flags)

    def _pidfd(self, fd: int) -> int:
        """The host's descriptor of one. EBADF."""
        host = self.host(fd)
        if host not in self.pidfds:
            raise failed(errno.EBADF)
        return host

    def sys_pidfd_send_signal(self, fd: int, number: int, info: int, flags: int, *_: int) -> int:
        host = self._pidfd(fd)
        if flags:
            raise failed(errno.EINVAL)
        pid = self.pidfds[host]
        number = self.signal_number(number)
        sent = Signal(number, SI_USER, os.getpid(), os.getuid())
        if info:
            sent = self.given_info(info)
            if sent.number != number:
                raise failed(errno.EINVAL)
            if pid != os.getpid() and (sent.code >= 0 or sent.code == SI_TKILL):
                raise failed(errno.EPERM)  # it cannot pretend to be the kernel
        if pid == os.getpid():
            if number:
                self.queue(self.pending, sent)
            return 0
        signal.pidfd_send_signal(host, 0)  # ESRCH of who has been waited for
        if number and number not in (32, 33):
            self.machine.process.post(pid, sent)
            signal.pidfd_send_signal(host, number)
        return 0

    def sys_pidfd_getfd(self, fd: int, target: int, flags: int, *_: int) -> int:
        """Of this process alone: what another one has open is known to nobody else."""
        if flags:
            raise failed(errno.EINVAL)
        host = self._pidfd(fd)
        if self.pidfds[host] != os.getpid():
            signal.pidfd_send_signal(host, 0)
            raise failed(errno.EPERM)
        return self.sys_fcntl(target, F_DUPFD_CLOEXEC, 0)

    def wait_for_pidfd(self, fd: int, options: int) -> os.waitid_result | None:
        """waitid of one; None: not yet. EAGAIN, if it is one that nobody waits for (PIDFD_NONBLOCK)."""
        host = self._pidfd(fd)
        found = os.waitid(P_PIDFD, host, options | os.WNOHANG)
        if found is None and not options & WNOHANG:
            if not os.get_blocking(host):
                raise failed(errno.EAGAIN)
            raise Sleep(children=True)
        return found

    def sys_read(self, fd: int, buffer: int, count: int, *_: int) -> int:
        if self.pidfds and self.descriptors.get(fd & 0xFFFFFFFF) in self.pidfds:
            raise failed(errno.EINVAL)
        return super().sys_read(fd, buffer, count)

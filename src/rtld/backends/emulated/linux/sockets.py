"""Sockets: off, unless the user has said ``--net``; pairs of them, which lead nowhere else, are always there."""

from __future__ import annotations

import errno
import os
import stat

from rtld.backends.emulated.linux.calls import failed
from rtld.backends.emulated.linux.io import MOST, O_CLOEXEC
from rtld.backends.emulated.linux.process import Processes
from rtld.backends.emulated.memory import WRITE

#: socketcall's number -> the call, how many arguments it has.
CALLS = {
    1: ("socket", 3), 2: ("bind", 3), 3: ("connect", 3), 4: ("listen", 2), 5: ("accept", 3), 6: ("getsockname", 3),
    7: ("getpeername", 3), 8: ("socketpair", 4), 9: ("send", 4), 10: ("recv", 4), 11: ("sendto", 6), 12: ("recvfrom", 6),
    13: ("shutdown", 2), 14: ("setsockopt", 5), 15: ("getsockopt", 5), 16: ("sendmsg", 3), 17: ("recvmsg", 3),
    18: ("accept4", 4),
}  # fmt: skip
_FLAGS = 0o2004000  # SOCK_CLOEXEC, SOCK_NONBLOCK


class Sockets(Processes):
    """A pair is a two-way pipe."""

    def sys_socket(self, *_: int) -> int:
        raise failed(errno.EACCES)

    def sys_socketpair(self, family: int, kind: int, protocol: int, result: int, *_: int) -> int:
        import socket

        if family != socket.AF_UNIX:
            raise failed(errno.EAFNOSUPPORT)
        self.memory.view(result, 8, WRITE)
        pair = socket.socketpair(socket.AF_UNIX, kind & ~_FLAGS, protocol)
        fds = []
        for end in pair:
            end.setblocking(not kind & 0o4000)
            fds.append(self.add(end.detach(), cloexec=bool(kind & O_CLOEXEC)))
        self.put(result, self.pack("II", *fds))
        return 0

    def sys_sendto(
        self, fd: int, buffer: int, size: int, _flags: int, address: int, *_: int
    ) -> int:
        if address:
            raise failed(errno.EISCONN)
        return self.sys_write(fd, buffer, size)

    def sys_recvfrom(self, fd: int, buffer: int, size: int, flags: int, *_: int) -> int:
        import socket

        host = self.host(fd)
        self.ready(host)
        end = socket.socket(fileno=host)
        try:
            got = end.recv_into(self.memory.view(buffer, min(size, MOST), WRITE), 0, flags & 2)
        finally:
            end.detach()
        self.memory.changed(buffer, got)
        return got

    def _of_socket(self, fd: int, *_: int) -> int:
        """What is asked about a socket: a pair has no names and no options worth setting."""
        if not stat.S_ISSOCK(os.fstat(self.host(fd)).st_mode):
            raise failed(errno.ENOTSOCK)
        raise failed(errno.EOPNOTSUPP)

    sys_getpeername = sys_getsockname = sys_getsockopt = sys_setsockopt = _of_socket

    def sys_socketcall(self, which: int, arguments: int, *_: int) -> int:
        """The oldest way to all of them: a number and the address of the arguments (<linux/net.h>)."""
        name, count = CALLS.get(which, ("", 0))
        function = getattr(self, f"sys_{name}", None)
        if function is None:
            raise failed(errno.EINVAL if not name else errno.EACCES)
        result: int = function(*self.words(arguments, count))
        return result

    def sys_send(self, fd: int, buffer: int, size: int, *_: int) -> int:
        return self.sys_write(fd, buffer, size)

    def sys_recv(self, fd: int, buffer: int, size: int, flags: int, *_: int) -> int:
        return self.sys_recvfrom(fd, buffer, size, flags)

    def sys_shutdown(self, fd: int, how: int, *_: int) -> int:
        import socket

        end = socket.socket(fileno=self.host(fd))
        try:
            end.shutdown(how)
        finally:
            end.detach()
        return 0

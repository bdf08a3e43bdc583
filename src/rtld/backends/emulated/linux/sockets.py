"""Sockets: of this machine's processes and of this computer, with the user's permission (``--net``); pairs always.

They are the host's. What may be asked of one is what is listed here; a call that would block puts its thread to sleep.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import struct
import time
from contextlib import contextmanager

from rtld.backends.emulated.linux import mips
from rtld.backends.emulated.linux.addresses import AF_INET, AF_INET6, AF_UNIX, Addresses
from rtld.backends.emulated.linux.calls import Sleep, failed, int32
from rtld.backends.emulated.linux.io import MOST, O_CLOEXEC
from rtld.backends.emulated.memory import READ, WRITE
from rtld.core.late import Late

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Any
else:
    socket = Late("socket")

# fmt: off
#: socketcall's number -> the call, how many arguments it has.
CALLS = {
    1: ("socket", 3), 2: ("bind", 3), 3: ("connect", 3), 4: ("listen", 2), 5: ("accept", 3), 6: ("getsockname", 3),
    7: ("getpeername", 3), 8: ("socketpair", 4), 9: ("send", 4), 10: ("recv", 4), 11: ("sendto", 6), 12: ("recvfrom", 6),
    13: ("shutdown", 2), 14: ("setsockopt", 5), 15: ("getsockopt", 5), 16: ("sendmsg", 3), 17: ("recvmsg", 3),
    18: ("accept4", 4), 19: ("recvmmsg", 5), 20: ("sendmmsg", 4),
}
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_NONBLOCK = 1, 2, 5, 0o4000
_FLAGS = SOCK_NONBLOCK | O_CLOEXEC
KINDS = {AF_UNIX: (1, 2, 5), AF_INET: (1, 2), AF_INET6: (1, 2)}
MSG_OOB, MSG_PEEK, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT, MSG_EOR, MSG_WAITALL = 1, 2, 8, 0x20, 0x40, 0x80, 0x100
MSG_NOSIGNAL, MSG_CMSG_CLOEXEC = 0x4000, 0x40000000
SCM_RIGHTS, SCM_MAX = 1, 253
SOL_SOCKET, SO_LINGER, SO_PEERCRED, SO_RCVTIMEO, SO_SNDTIMEO = 1, 13, 17, 20, 21
#: Options that are one int: level -> (to be set, only to be asked for).
OPTIONS = {
    SOL_SOCKET: ({2, 6, 7, 8, 9, 15, 18}, {3, 4, 30, 38, 39}),  # REUSEADDR BROADCAST SNDBUF RCVBUF KEEPALIVE REUSEPORT RCVLOWAT
    0:          ({1, 2}, set()),                                # IP: TOS TTL
    6:          ({1, 2, 3, 4, 5, 6, 9, 12, 18}, {23}),          # TCP
    41:         ({16, 26}, set()),                              # IPv6: UNICAST_HOPS V6ONLY
}
# fmt: on


class Sockets(Addresses):
    """``net``: sockets of other kinds than pairs are allowed. ``timeouts``: host's descriptor -> SO_RCVTIMEO, SO_SNDTIMEO."""

    net = False
    timeouts: dict[int, list[float]]
    _connecting: set[int]

    def start_sockets(self) -> None:
        self.timeouts = {}
        self._connecting = set()
        self.held = {}

    @contextmanager
    def _socket(self, fd: int) -> Iterator[socket.socket]:
        """The host's socket as Python has it. ENOTSOCK."""
        host = self.host(fd)
        if not stat.S_ISSOCK(os.fstat(host).st_mode):
            raise failed(errno.ENOTSOCK)
        end = socket.socket(fileno=host)
        try:
            yield end
        finally:
            end.detach()

    def drop(self, fd: int) -> None:
        host = self.descriptors[fd]
        if host in self.owned:
            self.timeouts.pop(host, None)
            self._connecting.discard(host)
            directory = self.held.pop(host, None)
            if directory is not None:
                os.close(directory)
        super().drop(fd)

    def sleep_until_ready(self, host: int, *, write: bool) -> None:
        """Sleep; EAGAIN when the socket's own time is over."""
        limit = self.timeouts.get(host, (0.0, 0.0))[write]
        deadline = self.until(limit) if limit else None
        if deadline is not None and time.monotonic() >= deadline:
            raise failed(errno.EAGAIN)
        fds = (host,)
        raise Sleep(write=fds, deadline=deadline) if write else Sleep(read=fds, deadline=deadline)

    # -- making them --------------------------------------------------------------------------------

    def _flags_in(self, kind: int) -> int:
        """A type of socket with its flags; MIPS has the first two the other way round."""
        if not self.is_mips:
            return kind
        plain = kind & 0xF
        return {1: SOCK_DGRAM, 2: SOCK_STREAM}.get(plain, plain) | self.host_flags(kind & ~0xF)

    def _option_in(self, level: int, option: int) -> tuple[int, int]:
        level, option = int32(level), int32(option)
        if self.is_mips and level == mips.SOL_SOCKET:
            return SOL_SOCKET, mips.SOCKET.get(option, -1)
        return level, option

    def _kind(self, family: int, kind: int) -> int:
        plain = kind & ~_FLAGS
        if family not in KINDS:
            raise failed(errno.EAFNOSUPPORT)
        if plain not in KINDS[family]:
            raise failed(errno.EPERM if plain == 3 else errno.ESOCKTNOSUPPORT)  # SOCK_RAW
        return plain

    def _keep_socket(self, end: socket.socket, kind: int) -> int:
        end.setblocking(not kind & SOCK_NONBLOCK)
        return self.add(end.detach(), cloexec=bool(kind & O_CLOEXEC))

    def sys_socket(self, family: int, kind: int, protocol: int, *_: int) -> int:
        if not self.net:
            raise failed(errno.EACCES)
        kind = self._flags_in(kind)
        return self._keep_socket(socket.socket(family, self._kind(family, kind), protocol), kind)

    def sys_socketpair(self, family: int, kind: int, protocol: int, result: int, *_: int) -> int:
        if family != AF_UNIX:
            raise failed(errno.EAFNOSUPPORT)
        kind = self._flags_in(kind)
        self.memory.view(result, 8, WRITE)
        pair = socket.socketpair(socket.AF_UNIX, self._kind(family, kind), protocol)
        self.put(result, self.pack("II", *(self._keep_socket(end, kind) for end in pair)))
        return 0

    def sys_bind(self, fd: int, address: int, size: int, *_: int) -> int:
        with self._socket(fd) as end:
            if end.family == AF_UNIX:
                self.bind_unix(end, address, size)
            else:
                end.bind(self.internet(address, size, end.family))
        return 0

    def sys_listen(self, fd: int, backlog: int, *_: int) -> int:
        with self._socket(fd) as end:
            end.listen(min(max(int32(backlog), 0), 4096))
        return 0

    def sys_connect(self, fd: int, address: int, size: int, *_: int) -> int:
        with self._socket(fd) as end:
            host = end.fileno()
            if host in self._connecting:
                self._connecting.discard(host)
                number = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    raise failed(number)
                return 0
            blocking = os.get_blocking(host)
            os.set_blocking(host, False)
            try:
                if end.family == AF_UNIX:
                    with self.unix_peer(address, size) as name:
                        end.connect(name)
                else:
                    end.connect(self.internet(address, size, end.family))
            except BlockingIOError as error:
                if not blocking:
                    raise
                if error.errno != errno.EINPROGRESS:  # a queue that is full
                    raise Sleep(pause=0.005) from None
                self._connecting.add(host)
                raise Sleep(write=(host,)) from None
            finally:
                os.set_blocking(host, blocking)
        return 0

    def sys_accept4(self, fd: int, address: int, size_at: int, kind: int, *_: int) -> int:
        with self._socket(fd) as end:
            if not end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise failed(errno.EINVAL)
            self.ready(end.fileno())
            blocking = os.get_blocking(end.fileno())
            os.set_blocking(end.fileno(), False)  # who came may be gone again
            try:
                new, peer = end.accept()
            except BlockingIOError:
                if blocking:
                    raise Sleep(read=(end.fileno(),)) from None
                raise
            finally:
                os.set_blocking(end.fileno(), blocking)
            self.give_address(address, size_at, self.pack_address(end.family, peer))
        return self._keep_socket(new, self._flags_in(kind) & ~0xF)

    def sys_accept(self, fd: int, address: int, size_at: int, *_: int) -> int:
        return self.sys_accept4(fd, address, size_at, 0)

    def sys_getsockname(self, fd: int, address: int, size_at: int, *_: int) -> int:
        with self._socket(fd) as end:
            self.give_address(address, size_at, self.pack_address(end.family, end.getsockname()))
        return 0

    def sys_getpeername(self, fd: int, address: int, size_at: int, *_: int) -> int:
        with self._socket(fd) as end:
            self.give_address(address, size_at, self.pack_address(end.family, end.getpeername()))
        return 0

    def sys_shutdown(self, fd: int, how: int, *_: int) -> int:
        with self._socket(fd) as end:
            end.shutdown(how)
        return 0

    # -- sending and receiving ----------------------------------------------------------------------

    def sys_sendto(
        self, fd: int, buffer: int, size: int, flags: int, address: int, length: int
    ) -> int:
        views = [self.memory.view(buffer, min(size, MOST), READ)] if size else []
        return self._send_message(fd, views, [], flags, address, length)

    def _send_message(
        self,
        fd: int,
        views: list[memoryview],
        rights: list[Any],
        flags: int,
        address: int,
        length: int,
    ) -> int:
        with self._socket(fd) as end:
            host = end.fileno()
            if not flags & MSG_DONTWAIT:
                self.ready(host, write=True)
            wanted = flags & (MSG_OOB | MSG_EOR) | MSG_NOSIGNAL | MSG_DONTWAIT
            try:
                if not address:
                    return end.sendmsg(views, rights, wanted)
                if end.family == AF_UNIX:
                    with self.unix_peer(address, length) as name:
                        return end.sendmsg(views, rights, wanted, name)
                return end.sendmsg(
                    views, rights, wanted, self.internet(address, length, end.family)
                )
            except BlockingIOError:
                if os.get_blocking(host) and not flags & MSG_DONTWAIT:
                    self.sleep_until_ready(host, write=True)
                raise
            except BrokenPipeError:
                if not flags & MSG_NOSIGNAL:
                    self.send_self(int(signal.SIGPIPE))
                raise

    def sys_recvfrom(
        self, fd: int, buffer: int, size: int, flags: int, address: int, size_at: int
    ) -> int:
        view = self.memory.view(buffer, min(size, MOST), WRITE)
        with self._socket(fd) as end:
            self._wait_to_receive(end, len(view), flags)
            wanted = flags & (MSG_OOB | MSG_PEEK | MSG_TRUNC)
            got, peer = end.recvfrom_into(view, 0, wanted) if len(view) else (0, None)
            self.give_address(address, size_at, self.pack_address(end.family, peer))
        self.memory.changed(buffer, min(got, len(view)))
        return got

    def _wait_to_receive(self, end: socket.socket, size: int, flags: int) -> None:
        host = end.fileno()
        if flags & MSG_DONTWAIT:
            if not _readable(host):
                raise failed(errno.EAGAIN)
            return
        if not flags & MSG_OOB:
            self.ready(host)
        if flags & MSG_WAITALL and os.get_blocking(host) and end.type == SOCK_STREAM and size:
            held = len(end.recv(min(size, 1 << 20), socket.MSG_PEEK | socket.MSG_DONTWAIT))
            if 0 < held < min(size, 1 << 20) and not _is_closed(host):
                raise Sleep(pause=0.002)

    def sys_send(self, fd: int, buffer: int, size: int, flags: int, *_: int) -> int:
        return self.sys_sendto(fd, buffer, size, flags, 0, 0)

    def sys_recv(self, fd: int, buffer: int, size: int, flags: int, *_: int) -> int:
        return self.sys_recvfrom(fd, buffer, size, flags, 0, 0)

    # -- messages, and descriptors in them ------------------------------------------------------------

    @property
    def _own_level(self) -> int:
        return mips.SOL_SOCKET if self.is_mips else SOL_SOCKET

    @property
    def _header(self) -> str:
        """struct msghdr: name, its size, vector, count, control data, its size, flags."""
        return "LI4xLLLLi4x" if self.bits == 64 else "LILLLLi"

    def sys_sendmsg(self, fd: int, message: int, flags: int, *_: int) -> int:
        name, length, vector, count, control, size, _ = self.unpack(self._header, message)
        views = [self.memory.view(at, n, READ) for at, n in self.vector(vector, count) if n]
        return self._send_message(fd, views, self._control_data(control, size), flags, name, length)

    def _control_data(self, at: int, size: int) -> list[tuple[int, int, bytes]]:
        """Control data to send: of all kinds, descriptors alone."""
        found: list[tuple[int, int, bytes]] = []
        end, head = at + size, self.word + 8
        if size > 1 << 16:
            raise failed(errno.ENOBUFS)
        while at and at + head <= end:
            length, level, kind = self.unpack("Lii", at)
            if not head <= length <= end - at:
                raise failed(errno.EINVAL)
            if (level, kind) != (self._own_level, SCM_RIGHTS):
                raise failed(errno.EPERM)
            count = (length - head) // 4
            if count > SCM_MAX:
                raise failed(errno.EINVAL)
            hosts = [self.host(number) for number in self.unpack(f"{count}I", at + head)]
            found.append((SOL_SOCKET, kind, struct.pack(f"{count}i", *hosts)))
            at += -(-length // self.word) * self.word
        return found

    def sys_recvmsg(self, fd: int, message: int, flags: int, *_: int) -> int:
        name, length, vector, count, control, size, _ = self.unpack(self._header, message)
        parts = self.vector(vector, count)
        views = [self.memory.view(at, n, WRITE) for at, n in parts if n]
        room = min(size, 1 << 16) if control else 0
        with self._socket(fd) as end:
            self._wait_to_receive(end, sum(map(len, views)), flags)
            wanted = flags & (MSG_OOB | MSG_PEEK | MSG_TRUNC)
            space = socket.CMSG_SPACE(4 * SCM_MAX) if room else 0
            got, extra, said, peer = end.recvmsg_into(views or [bytearray(1)][:0], space, wanted)
            data = self.pack_address(end.family, peer) if name else b""
        for at, n in parts:
            self.memory.changed(at, n)
        used, cut = self._give_control(extra, control, room, cloexec=bool(flags & MSG_CMSG_CLOEXEC))
        said = said & ~MSG_CMSG_CLOEXEC | (MSG_CTRUNC if cut else 0)
        if name:
            self.put(name, data[:length])
        form = self._header
        self.put(message, self.pack(form, name, len(data), vector, count, control, used, said))
        return got

    def _give_control(
        self, extra: list[Any], at: int, room: int, *, cloexec: bool
    ) -> tuple[int, bool]:
        """Descriptors that have come, as the guest's; bytes used, and whether something had no room."""
        used, cut, head = 0, False, self.word + 8
        for level, kind, data in extra:
            if (level, kind) != (SOL_SOCKET, SCM_RIGHTS):
                cut = True
                continue
            hosts = struct.unpack(f"{len(data) // 4}i", data[: len(data) & -4])
            fits = max((room - used - head) // 4, 0)
            cut |= fits < len(hosts)
            for host in hosts[fits:]:
                os.close(host)
            numbers = []
            for host in hosts[:fits]:
                os.set_inheritable(host, False)
                self.fixed.add(host)  # nobody says where it was opened
                numbers.append(self.add(host, cloexec=cloexec))
            if numbers:
                body = self.pack("Lii", head + 4 * len(numbers), self._own_level, kind) + self.pack(
                    f"{len(numbers)}I", *numbers
                )
                self.put(at + used, body)
                used += min(-(-len(body) // self.word) * self.word, room - used)
        return used, cut

    # -- options ------------------------------------------------------------------------------------

    @property
    def _moment(self) -> str:
        return "ll"  # struct timeval

    def sys_setsockopt(
        self, fd: int, level: int, option: int, value: int, size: int, *_: int
    ) -> int:
        level, option = self._option_in(level, option)
        with self._socket(fd) as end:
            if level == SOL_SOCKET and option in (SO_RCVTIMEO, SO_SNDTIMEO):
                seconds, rest = self.unpack(self._moment, value)
                limits = self.timeouts.setdefault(end.fileno(), [0.0, 0.0])
                limits[option == SO_SNDTIMEO] = max(seconds + rest / 1e6, 0)
                return 0
            if level == SOL_SOCKET and option == SO_LINGER:
                end.setsockopt(level, option, struct.pack("ii", *self.unpack("ii", value)))
                return 0
            if option not in OPTIONS.get(level, (set(), set()))[0]:
                raise failed(errno.ENOPROTOOPT)
            if size < 4:
                raise failed(errno.EINVAL)
            end.setsockopt(level, option, int32(self.read32(value)))
        return 0

    def sys_getsockopt(
        self, fd: int, level: int, option: int, value: int, size_at: int, *_: int
    ) -> int:
        level, option = self._option_in(level, option)
        room = self.read32(size_at)
        with self._socket(fd) as end:
            data = self._option(end, level, option)[:room]
        self.put(value, data)
        self.write32(size_at, len(data))
        return 0

    def _option(self, end: socket.socket, level: int, option: int) -> bytes:
        if level == SOL_SOCKET and option in (SO_RCVTIMEO, SO_SNDTIMEO):
            limit = self.timeouts.get(end.fileno(), [0.0, 0.0])[option == SO_SNDTIMEO]
            return self.pack(self._moment, int(limit), int(limit % 1 * 1e6))
        forms = {SO_LINGER: "ii", SO_PEERCRED: "iii"}
        if level == SOL_SOCKET and option in forms:
            form = forms[option]
            got = end.getsockopt(level, option, struct.calcsize(form))
            return self.pack(form, *struct.unpack(form, got))
        settable, only = OPTIONS.get(level, (set(), set()))
        if option not in settable | only:
            raise failed(errno.ENOPROTOOPT)
        value = end.getsockopt(level, option)
        if self.is_mips and (level, option) == (SOL_SOCKET, 3):  # SO_TYPE
            value = {1: 2, 2: 1}.get(value, value)
        if self.is_mips and (level, option) == (SOL_SOCKET, 4):  # SO_ERROR
            value = mips.ERRNO_MIPS.get(value, value)
        return self.pack("i", value)

    def sys_socketcall(self, which: int, arguments: int, *_: int) -> int:
        """The oldest way to all of them: a number and the address of the arguments (<linux/net.h>)."""
        name, count = CALLS.get(which, ("", 0))
        if not name:
            raise failed(errno.EINVAL)
        result: int = getattr(self, f"sys_{name}")(*self.words(arguments, count))
        return result


def _readable(host: int) -> bool:
    poll = select.poll()
    poll.register(host, select.POLLIN)
    return bool(poll.poll(0))


def _is_closed(host: int) -> bool:
    """Will nothing more come?"""
    poll = select.poll()
    poll.register(host, select.POLLRDHUP)
    return bool(poll.poll(0))

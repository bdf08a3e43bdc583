"""Addresses of sockets: the guest's structures, and what of them the host may be told.

A path is walked in the guest's tree, and the host is given the file itself; an abstract name gets a prefix that no other
machine has; of the internet there is this computer only (127.0.0.0/8, ::1).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from rtld.backends.emulated.linux.calls import failed
from rtld.backends.emulated.linux.files import AT_FDCWD
from rtld.backends.emulated.linux.pidfd import PidFiles
from rtld.backends.emulated.memory import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Any

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
LONGEST = 128  # struct sockaddr_storage
_ANY4, _HERE4, _ANY6, _HERE6 = bytes(4), b"\x7f\0\0\1", bytes(16), bytes(15) + b"\1"
_MAPPED = bytes(10) + b"\xff\xff"
KEPT = 1000  # names of sockets that are remembered


class Addresses(PidFiles):
    """``token`` begins the abstract names of this machine."""

    def _raw(self, address: int, size: int) -> tuple[int, bytes]:
        """(family, the rest) of a struct sockaddr."""
        if not 2 <= size <= LONGEST:
            raise failed(errno.EINVAL)
        data = bytes(self.memory.view(address, size, READ))
        return int.from_bytes(data[:2], self.order), data[2:]

    def internet(self, address: int, size: int, family: int) -> tuple[Any, ...]:
        """Python's form of an address of this computer. ENETUNREACH for any other."""
        import socket

        given, data = self._raw(address, size)
        if given != family:
            raise failed(errno.EAFNOSUPPORT)
        if len(data) < (6 if family == AF_INET else 22):
            raise failed(errno.EINVAL)
        port = int.from_bytes(data[:2], "big")
        if family == AF_INET:
            host = _HERE4 if data[2:6] == _ANY4 else data[2:6]
            if host[0] != 127:
                raise failed(errno.ENETUNREACH)
            return socket.inet_ntop(socket.AF_INET, host), port
        host = _HERE6 if data[6:22] == _ANY6 else data[6:22]
        if host != _HERE6 and not (host.startswith(_MAPPED) and host[12] == 127):
            raise failed(errno.ENETUNREACH)
        return socket.inet_ntop(socket.AF_INET6, host), port, 0, 0

    @property
    def _prefix(self) -> bytes:
        family = self.machine.process.family
        if family is None:
            raise failed(errno.EACCES)
        with family.ipc.open() as table:
            token = table["sockets"].setdefault("", os.urandom(8).hex())
        return b"\0rtld-" + str(token).encode() + b"-"

    def _unix(self, address: int, size: int) -> bytes:
        given, data = self._raw(address, size)
        if given != AF_UNIX:
            raise failed(errno.EINVAL)
        if data[:1] != b"\0":
            data = data.partition(b"\0")[0]
        return data

    def _abstract(self, name: bytes) -> bytes:
        whole = self._prefix + name[1:]
        if len(whole) > 107:
            raise failed(errno.EINVAL)
        return whole

    @contextmanager
    def unix_peer(self, address: int, size: int) -> Iterator[str | bytes]:
        """What the host is to connect to, while the block runs."""
        name = self._unix(address, size)
        if not name:
            raise failed(errno.EINVAL)
        if name.startswith(b"\0"):
            yield self._abstract(name)
            return
        with self.at(AT_FDCWD, os.fsdecode(name)) as place:
            fd = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                raise failed(errno.ECONNREFUSED)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)

    def bind_unix(self, end: socket.socket, address: int, size: int) -> None:
        """Give a socket its name, in the guest's tree or among its abstract ones."""
        name = self._unix(address, size)
        if not name or name.startswith(b"\0"):
            # Without a name the kernel would choose one that every machine sees.
            end.bind(self._abstract(name or b"\0" + os.urandom(3).hex()[:5].encode()))
            return
        with self.at(AT_FDCWD, os.fsdecode(name), follow=False, write=True) as place:
            if place.exists:
                raise failed(errno.EADDRINUSE)
            # As long as the socket lives, so does the directory's descriptor: the host's name is unique.
            directory = os.dup(place.fd)
            host = f"/proc/{os.getpid()}/fd/{directory}/{place.name}"
            before = os.umask(self.umask)
            try:
                end.bind(host)
            except BaseException:
                os.close(directory)
                raise
            finally:
                os.umask(before)
        self.held[end.fileno()] = directory
        family = self.machine.process.family
        if family is not None:
            with family.ipc.open() as table:
                names = table["sockets"]
                names[host] = name
                for old in list(names)[1 : max(len(names) - KEPT, 1)]:
                    del names[old]

    held: dict[int, int]  # host's descriptor of a socket -> that of its directory

    def _guest_name(self, found: Any) -> bytes:
        """The guest's name of a socket of the host's."""
        family = self.machine.process.family
        data = os.fsencode(found) if found else b""
        if not data or family is None:
            return b""
        with family.ipc.open() as table:
            known = table["sockets"].get(os.fsdecode(data))
            token = table["sockets"].get("", "")
        prefix = b"\0rtld-" + str(token).encode() + b"-"
        if data.startswith(prefix):
            return b"\0" + data[len(prefix) :]
        return bytes(known) if known is not None else b""

    def pack_address(self, family: int, found: Any) -> bytes:
        """A struct sockaddr of Python's form of an address."""
        head = family.to_bytes(2, self.order)
        if family == AF_UNIX:
            name = self._guest_name(found)
            return head + name + (b"\0" if name and not name.startswith(b"\0") else b"")
        if not found:
            return head
        import socket

        port = found[1].to_bytes(2, "big")
        if family == AF_INET:
            return bytes(head + port + socket.inet_pton(socket.AF_INET, found[0]) + bytes(8))
        return bytes(
            head + port + bytes(4) + socket.inet_pton(socket.AF_INET6, found[0]) + bytes(4)
        )

    def give_address(self, address: int, size_at: int, data: bytes) -> None:
        """Into the guest's buffer, as much as there is room for; the size is that of all of it."""
        if not address:
            return
        room = self.read32(size_at)
        if room >> 31:
            raise failed(errno.EINVAL)
        self.memory.view(size_at, 4, WRITE)
        self.put(address, data[:room])
        self.write32(size_at, len(data))

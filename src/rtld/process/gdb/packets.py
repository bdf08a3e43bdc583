"""The line to gdb: packets with checksums, acknowledged until both sides do without (gdb's manual, E.1 "Overview")."""

from __future__ import annotations

import select

from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

LARGEST = 0x4000  # bytes of a packet, said to gdb as PacketSize
INTERRUPT = b"\x03"  # what gdb sends for Ctrl-C; stands for a packet here
_ESCAPED = b"#$}*"


class LineBroken(RtldError):
    """The other side does not speak this protocol."""

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(found)

    def __str__(self) -> str:
        return f"gdb: {self.found}"


def checksum(payload: bytes) -> bytes:
    """Two hex digits."""
    return b"%02x" % (sum(payload) & 0xFF)


def escape(data: bytes) -> bytes:
    """Binary data as it may stand in a packet."""
    if not any(byte in _ESCAPED for byte in data):
        return data
    return b"".join(b"}%c" % (byte ^ 0x20) if byte in _ESCAPED else b"%c" % byte for byte in data)


def unescape(data: bytes) -> bytes:
    """The reverse of ``escape``."""
    if b"}" not in data:
        return data
    result = bytearray()
    at = 0
    while at < len(data):
        if data[at] == 0x7D and at + 1 < len(data):
            at += 1
            result.append(data[at] ^ 0x20)
        else:
            result.append(data[at])
        at += 1
    return bytes(result)


class Line:
    """One connection. ``receive`` gives payloads, ``send`` answers."""

    def __init__(self, connection: socket.socket) -> None:
        self.acknowledge = True
        self._socket = connection
        self._read = bytearray()

    def send(self, payload: bytes) -> None:
        """One packet; *payload* is escaped already where it is binary."""
        self._socket.sendall(b"$%b#%b" % (payload, checksum(payload)))

    def receive(self) -> bytes | None:
        """The next packet's payload, or ``INTERRUPT``; None when gdb has gone."""
        while True:
            found = self._next()
            if found is not None:
                return found
            more = self._socket.recv(0x1000)
            if not more:
                return None
            self._read += more

    def interrupted(self) -> bool:
        """Has gdb asked to stop, or gone away?  Looks, and does not wait."""
        if INTERRUPT[0] in self._read[:1]:
            return True
        if not select.select([self._socket], [], [], 0)[0]:
            return False
        more = self._socket.recv(0x1000)
        self._read += more
        if len(self._read) > 2 * LARGEST:
            raise LineBroken(f"{len(self._read)} bytes while the program runs")
        return not more or INTERRUPT[0] in self._read[:1]

    def _next(self) -> bytes | None:
        """What has been received already: skips acknowledgements, answers damaged packets."""
        read = self._read
        while read and read[0] in b"+-":
            del read[:1]
        if not read:
            return None
        if read[:1] == INTERRUPT:
            del read[:1]
            return INTERRUPT
        if read[:1] != b"$":
            raise LineBroken(f"byte {read[0]:#x} where a packet begins with $")
        end = read.find(b"#")
        if end < 0 or len(read) < end + 3:
            if len(read) > 2 * LARGEST:
                raise LineBroken(f"a packet of more than {2 * LARGEST} bytes")
            return None
        payload, sum_ = bytes(read[1:end]), bytes(read[end + 1 : end + 3])
        del read[: end + 3]
        if not self.acknowledge:
            return payload
        good = sum_.lower() == checksum(payload)
        self._socket.sendall(b"+" if good else b"-")
        return payload if good else self._next()

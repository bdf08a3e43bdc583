"""What the processes of one emulated machine share of System V IPC, and the names of their sockets.

One file without a name that all inherit: a table, then room for the bytes of shared memory segments. The table is small, and
is read and written whole, with a lock held; a guest never maps it. Keys and identifiers mean nothing outside the machine.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import struct
from contextlib import contextmanager

from rtld.errors import NoSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

TABLE = 1 << 24  # bytes for the table
ROOM = 1 << 32  # bytes of addresses for shared memory; what is not touched costs nothing
MOST = 4096  # objects of each kind
PAGE = 0x1000


class IpcStore:
    """``with store.open() as table:`` a dictionary, kept when the block is left in order."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("rtld-ipc", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, TABLE + ROOM)

    @contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """The table: kind -> identifier -> object."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX)
        try:
            (size,) = struct.unpack("Q", os.pread(self.fd, 8, 0))
            table = marshal.loads(os.pread(self.fd, size, 8)) if size else _empty()  # noqa: S302 - it is our own
            yield table
            data = marshal.dumps(table)
            if len(data) > TABLE - 8:
                raise NoSpace("the emulated machine's System V IPC objects are full")
            os.pwrite(self.fd, struct.pack("Q", len(data)) + data, 0)
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)

    def allot(self, table: dict[str, Any], size: int) -> int:
        """A place in the file for *size* bytes of shared memory, all zero. NoSpace."""
        at = TABLE
        for start, length in sorted((s["offset"], s["room"]) for s in table["shm"].values()):
            if at + size <= start:
                break
            at = max(at, start + length)
        if at + size > TABLE + ROOM:
            raise NoSpace("no room for more shared memory in the emulated machine")
        return at

    def clear(self, offset: int, size: int) -> None:
        """Nobody needs these bytes any more."""
        from rtld.backends.emulated.linux.hostcalls import punch_hole

        punch_hole(self.fd, offset, size)


def _empty() -> dict[str, Any]:
    return {"shm": {}, "sem": {}, "msg": {}, "next": 0, "sockets": {}}


def new_number(table: dict[str, Any], kind: str) -> int | None:
    """An identifier that has not been used lately; None: there are too many objects."""
    if len(table[kind]) >= MOST:
        return None
    while True:
        table["next"] = (table["next"] + 1) % 0x7FFFFFFF
        if table["next"] not in table[kind]:
            return int(table["next"])

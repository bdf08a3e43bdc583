"""The memory a live child shares with its linker, and the requests in it (``request`` in arch/x86_64_live.py).

    +0      doorbell: how many requests have been posted; a futex
    +4      not 0: the linker is gone          +8   its pid
    +0x400  ring of 256 slot numbers + 16, in the order of posting
    +0x1000 128 slots of 256 bytes
    +ARENA  lists that a slot leads to; only the linker allocates here

No descriptor is open for it in the child: a futex in shared memory is all it takes to ask, and a thread that waits for an
answer is in a system call like any other, seen by signals, debuggers and job control as ever.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import time
from collections import namedtuple

from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# fmt: off
SLOT        = 0x1000
SLOT_SIZE   = 256
SLOTS       = 128
ARENA       = SLOT + SLOTS * SLOT_SIZE
SIZE        = 1 << 20          # it counts against RLIMIT_AS of the program, so not more than is needed
_RING       = 0x400
_RING_SIZE  = 256
_GONE       = 4
_SERVER     = 8
_MMAP, _MUNMAP, _MAP_SHARED, _MAP_NORESERVE = 9, 11, 0x01, 0x4000
_FUTEX      = 202              # <asm/unistd_64.h>
_WAIT, _WAKE = 0, 1
# fmt: on

#: One request: slot's offset, service, six arguments, return address, pid, thread id, state, frame pointer.
Request = namedtuple("Request", "slot service args caller pid tid state frame")
_slot = struct.Struct("<IIQ6QQQQQQQQ")


def unnamed_file() -> int:
    """A descriptor (close-on-exec) of an empty file on disk without a name (O_TMPFILE), for reading and writing."""
    for directory in ("/dev/shm", os.environ.get("TMPDIR", "/tmp")):  # noqa: S108  it never has a name there
        try:
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o700)
        except OSError as error:
            problem = error
    raise Unsupported(
        f"memfd_create(2) is forbidden here, and {directory} takes no unnamed file ({problem.strerror})",
        "set TMPDIR to a directory that does",
    )


class Channel:
    """The linker's side. ``fd`` is open for the child to map; ``address`` is where the child has mapped it."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._syscall = libc.syscall
        self._syscall.restype = ctypes.c_long
        self._syscall.argtypes = (ctypes.c_long,) * 7
        try:
            self.fd = os.memfd_create("rtld", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            self._sealable = True
        except OSError:  # forbidden, by a filter of system calls perhaps
            self.fd = unnamed_file()
            self._sealable = False
        os.ftruncate(self.fd, SIZE)
        self.map: Any = None
        self._words: Any = None
        self._here = 0
        self.open()
        self.address = 0
        self.nonce = os.urandom(8)
        self._seen = 0
        self._timeout = (ctypes.c_long * 2)()
        self._free: dict[int, list[int]] = {}
        self._top = ARENA

    def open(self) -> None:
        """Map it, and say who we are."""
        flags = _MAP_SHARED | _MAP_NORESERVE
        self._here = self._syscall(_MMAP, 0, SIZE, 3, flags, self.fd, 0)
        if self._here == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.map = memoryview((ctypes.c_char * SIZE).from_address(self._here)).cast("B")
        self._words = self.map[:ARENA].cast("I")
        struct.pack_into("<q", self.map, _SERVER, os.getpid())

    def unused(self) -> bool:
        """Has nobody else mapped it any more?  Then it is of no use from now on.

        A file that somebody can write to through a mapping cannot be sealed against writing, nor be leased (fcntl(2)).
        """
        self._words.release()
        self.map.release()
        self._syscall(_MUNMAP, self._here, SIZE, 0, 0, 0, 0)
        try:
            if self._sealable:
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
            else:
                fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            self.open()
            return False
        return True

    def open_again(self) -> None:
        """After a fork: it is we who answer now."""
        struct.pack_into("<q", self.map, _SERVER, os.getpid())

    def path(self) -> bytes:
        """What the child opens to map it."""
        return b"/proc/%d/fd/%d" % (os.getpid(), self.fd)

    def requests(self) -> Iterator[Request]:
        """What has been posted since the last time, in order; does not wait."""
        words = self._words
        while self._seen != words[0]:
            at = _RING // 4 + self._seen % _RING_SIZE
            until = 0.0
            while not words[at]:
                # Its number is being written this very moment, unless the thread was killed before.
                until = until or time.monotonic() + 1
                if time.monotonic() > until:
                    break
            slot = words[at] << 8
            words[at] = 0
            self._seen = (self._seen + 1) & 0xFFFFFFFF
            if slot:
                yield self.read(slot)

    def read(self, slot: int) -> Request:
        """The request in a slot."""
        (_state, _owner, service, *rest) = _slot.unpack_from(self.map, slot)
        a, (caller, pid, tid, state, _list, _again, frame) = tuple(rest[:6]), rest[6:]
        return Request(slot, service, a, caller, pid, tid, state, frame)

    def wait(self, seconds: int = 0) -> bool:
        """Sleep until there is a request (true), or for so many seconds."""
        if self._words[0] == self._seen:
            self._timeout[0] = seconds
            until = ctypes.addressof(self._timeout) if seconds else 0
            self._syscall(_FUTEX, self._here, _WAIT, self._seen, until, 0, 0)
        return bool(self._words[0] != self._seen)

    def answer(self, slot: int, result: int, *, run: int = 0, again: bool = False) -> None:
        """Let the thread go on: work off the list at child's address *run*, then return or ask *again*."""
        struct.pack_into("<QQQ", self.map, slot + 96, run, again, result & 0xFFFFFFFFFFFFFFFF)
        self._words[slot // 4] = 2
        self._syscall(_FUTEX, self._here + slot, _WAKE, 1, 0, 0, 0)

    def ring(self) -> None:
        """Wake our own thread that waits."""
        self._syscall(_FUTEX, self._here, _WAKE, 1 << 30, 0, 0, 0)

    def hang_up(self) -> None:
        """Nobody will answer from now on; whoever waits learns it within two seconds."""
        self._words[_GONE // 4] = 0xFFFFFFFF

    def owners(self) -> Iterator[tuple[int, int]]:
        """(slot, thread) of all slots that are in use."""
        for slot in range(SLOT, ARENA, SLOT_SIZE):
            owner = self._words[slot // 4 + 1]
            if owner:
                yield slot, owner

    def release(self, slot: int) -> None:
        """Take a slot from a thread that is no more."""
        self._words[slot // 4 + 1] = 0

    # -- the arena --------------------------------------------------------------------------------

    def allocate(self, size: int) -> int:
        """Room for *size* bytes: its address in the child."""
        size = max(1 << (size - 1).bit_length(), 64)
        free = self._free.get(size)
        if free:
            return free.pop() + self.address
        at, self._top = self._top, self._top + size
        if self._top > SIZE:
            raise MemoryError("the memory shared with the child is used up")
        return at + self.address

    def free(self, address: int, size: int) -> None:
        """Give it back."""
        size = max(1 << (size - 1).bit_length(), 64)
        self._free.setdefault(size, []).append(address - self.address)

    def put(self, address: int, data: bytes) -> None:
        """Write at a child's address."""
        at = address - self.address
        self.map[at : at + len(data)] = data

    def get(self, address: int, size: int) -> bytes:
        """Read from a child's address."""
        at = address - self.address
        return bytes(self.map[at : at + size])

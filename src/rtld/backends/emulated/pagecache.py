"""Pages of files, kept once for all processes of an emulated machine; and how they come into one of them on first touch.

The cache is memory that all processes share: frames of sixteen pages, as Linux reads around a fault, and a table that says
which piece of which file is in which. A process maps a frame privately: what it writes is its own copy of a page.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

from rtld.backends.emulated.ranges import Ranges
from rtld.core.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.memory import Memory

PAGE = 0x1000
FRAME = 16 * PAGE
MANY = 512  # pages of its own from which on a process gets them by the frame
FRAMES = 1 << 14  # 1 GiB, of which only what is used is there
_ENTRY = struct.Struct("QQQQ")  # file, piece, 1 + frame, processes that have mapped it
_SLOTS = 1 << 15
_HEAD = struct.Struct(
    "QQQQ"
)  # frames in use, faults served from the cache, from a file; pages copied on write
_TABLE = 64


class Counters(NamedTuple):
    """What has happened in all processes together. ``shared``: pages that more than one process has mapped."""

    frames: int
    cached: int
    read: int
    copied: int
    shared: int


class PageCache:
    """The frames and their table, in shared memory. When they are full, files are mapped without it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("rtld-pages", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, FRAMES * FRAME)
        self._frames = mmap.mmap(self.fd, FRAMES * FRAME)
        self._table = mmap.mmap(-1, _TABLE + _SLOTS * _ENTRY.size)

    def counters(self) -> Counters:
        """As of now."""
        shared = sum(
            _ENTRY.unpack_from(self._table, at)[3] > 1
            for at in range(_TABLE, _TABLE + _SLOTS * _ENTRY.size, _ENTRY.size)
        )
        frames, cached, read, copied = _HEAD.unpack_from(self._table, 0)
        return Counters(frames, cached, read, copied, shared * (FRAME // PAGE))

    def _count(self, which: int, many: int = 1) -> None:
        (value,) = struct.unpack_from("Q", self._table, 8 * which)
        struct.pack_into("Q", self._table, 8 * which, value + many)

    def copied(self, pages: int) -> None:
        """Pages have been copied because a process wrote to them."""
        with _Lock(self.fd):
            self._count(3, pages)

    def frame(self, identity: int, piece: int, fd: int) -> int | None:
        """The frame with that piece of the file, read if need be; None when there is no room."""
        with _Lock(self.fd):
            at, known = self._find(identity, piece)
            if known:
                self._count(1)
                return known - 1
            number = struct.unpack_from("Q", self._table, 0)[0]
            if number == FRAMES or at < 0:
                return None
            start = number * FRAME
            view = memoryview(self._frames)[start : start + FRAME]
            os.preadv(fd, [view], piece * FRAME)
            self._count(0)
            self._count(2)
            _ENTRY.pack_into(self._table, at, identity, piece, number + 1, 0)
            return int(number)

    def _find(self, identity: int, piece: int) -> tuple[int, int]:
        """(place of the entry, 1 + frame or 0); place -1: the table is full."""
        slot = hash((identity, piece)) % _SLOTS
        for _ in range(_SLOTS // 2):
            at = _TABLE + slot * _ENTRY.size
            file, which, frame, _processes = _ENTRY.unpack_from(self._table, at)
            if not frame or (file, which) == (identity, piece):
                return at, frame
            slot = (slot + 1) % _SLOTS
        return -1, 0

    def mapped(self, pieces: set[tuple[int, int]]) -> None:
        """One more process has these in its memory."""
        with _Lock(self.fd):
            for identity, piece in pieces:
                at, known = self._find(identity, piece)
                if known:
                    struct.pack_into(
                        "Q", self._table, at + 24, _ENTRY.unpack_from(self._table, at)[3] + 1
                    )


class _Lock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN)


class Pager:
    """One process's dealings with the cache.

    absent  ranges of files that nobody has touched yet; value: index into ``files``
    lent    ranges that are frames of the cache still: written to, they become the process's own
    """

    def __init__(self, memory: Memory, cache: PageCache) -> None:
        self.memory = memory
        self.cache = cache
        self.absent = Ranges()
        self.lent = Ranges()
        self.files: list[
            tuple[int, int, int]
        ] = []  # identity, descriptor, address of the file's first byte
        self._open: dict[int, int] = {}
        self._pieces: set[tuple[int, int]] = set()
        self._placed = self._owned = 0  # frames, pages

    def add(self, start: int, size: int, fd: int, offset: int) -> None:
        """A file's pages belong there."""
        status = os.fstat(fd)
        identity = (
            hash((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)) & (1 << 63) - 1
        )
        if identity not in self._open:
            self._open[identity] = os.dup(fd)
        self.files.append((identity, self._open[identity], start - offset))
        self.absent.add(start, start + size, len(self.files) - 1)

    def bring(self, start: int, size: int) -> bool:
        """Have all pages there; True if some were missing."""
        missing = self.absent.pieces(start, start + size)
        for low, high, index in missing:
            origin = self.files[index][2]
            reach = self._reach()
            first = (low - origin) // FRAME // reach * reach
            last = (high - 1 - origin) // FRAME // reach * reach + reach
            runs: list[list[int]] = []  # what comes in one piece is one region of the CPU's
            for piece in range(first, last):
                begin = origin + piece * FRAME
                for part in self.absent.pieces(begin, begin + FRAME):
                    if part[2] != index:
                        continue
                    self._place(part[0], part[1], index, piece)
                    if runs and runs[-1][1] == part[0]:
                        runs[-1][1] = part[1]
                    else:
                        runs.append([part[0], part[1]])
            for begin, end in runs:
                self.lent.add(begin, end)
                self.memory.show(begin, end)
        return bool(missing)

    def _reach(self) -> int:
        """How many frames come together: more when many have come, as the CPU's work for a region grows with their number."""
        return 1 if self._placed < 128 else 4 if self._placed < 512 else 16

    def _place(self, low: int, high: int, index: int, piece: int) -> None:
        """Put one frame of a file there."""
        self._placed += 1
        identity, fd, origin = self.files[index]
        frame = self.cache.frame(identity, piece, fd)
        self.absent.remove(low, high)
        if frame is None:
            self.memory.place_pages(low, high - low, fd, low - origin)
        else:
            at = frame * FRAME + low - origin - piece * FRAME
            self.memory.place_pages(low, high - low, self.cache.fd, at)
            if (identity, piece) not in self._pieces:
                self._pieces.add((identity, piece))
                self.cache.mapped({(identity, piece)})

    def own(self, start: int, size: int) -> bool:
        """The process writes there: pages become its own; True if some were not."""
        begin, end = start & -PAGE, start + size + PAGE - 1 & -PAGE
        if self._owned > MANY:
            # Page by page would make thousands of regions: the frames, as far as the region has them.
            around = self.memory.regions.pieces(begin & -FRAME, end + FRAME - 1 & -FRAME)
            mine = [part for part in around if part[0] < end and part[1] > begin]
            if mine:
                begin, end = mine[0][0], mine[-1][1]
        parts = self.lent.remove(begin, end)
        for low, high, _ in parts:
            self._owned += (high - low) // PAGE
            self.cache.copied((high - low) // PAGE)
            self.memory.show_again(low, high)
        return bool(parts)

    def drop(self, start: int, size: int) -> list[tuple[int, int]]:
        """Nothing of it is wanted any more; what of it was never there."""
        self.lent.remove(start, start + size)
        return [(low, high) for low, high, _ in self.absent.remove(start, start + size)]

    def forked(self) -> None:
        """In a new process, which has everything its parent has."""
        self.cache.mapped(self._pieces)

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open = {}

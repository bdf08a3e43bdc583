"""The processes of one emulated machine, and this one's dealings with the host: signals that arrive, what wakes it.

Every guest process is a process of the host's. Which ones belong together stands in memory they share: a guest may only
send signals to those. A number alone does not say so: who is nobody's child any more ends unseen, and the host gives the number to
another. So the time it was started at stands beside it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import struct
from contextlib import contextmanager

from rtld.backends.emulated.ipcstore import IpcStore
from rtld.backends.emulated.linux.ucontext import Signal
from rtld.core.space import page_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST = 1 << 10  # processes at a time
_WORD = 8
_LETTER = struct.Struct("iiiIQi4x")  # a ``Signal``
_LETTERS = 63  # that wait for one process
_BOX = 8 + _LETTERS * _LETTER.size
_CARD = 4096  # bytes that a process tells of itself, their number before them


class Family:
    """Shared by all processes that descend from one start. *most*: how many there may be."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._lock = os.memfd_create("rtld-family", os.MFD_CLOEXEC)
        self._slots = mmap.mmap(-1, page_up((most + 1) * _WORD))
        self.ipc = IpcStore()
        self._letters = mmap.mmap(-1, page_up(most * _BOX))
        self._cards = mmap.mmap(-1, most * _CARD)
        self._own_card = b""
        self.first = os.getpid()
        self.wakeup: int | None = None
        self._bell: int | None = None
        #: Signals whose action here a guest has changed, and what it was before.
        self.handlers: dict[int, object] = {}
        self.remember(self.first)

    def _entries(self) -> list[tuple[int, int]]:
        """(pid, when it was started) of each slot; pid 0: it is free."""
        return list(struct.iter_unpack("II", self._slots[: self.most * _WORD]))

    def members(self) -> list[int]:
        """All that have not been waited for."""
        return [pid for pid, _ in self._entries() if pid]

    def _is(self, pid: int) -> bool:
        """Is the host's process of that number the one that is meant? One that is not has ended, and is forgotten."""
        return pid in self.living(pid)

    def living(self, only: int = 0) -> list[int]:
        """The members that are what they were when they were remembered; *only*: of this number."""
        found = []
        for pid, begun in self._entries():
            if pid and (not only or pid == only):
                if not begun or begun == _begun(pid):
                    found.append(pid)
                else:
                    self._free(pid, begun)
        return found

    def _free(self, pid: int, begun: int | None = None) -> None:
        with self._locked():
            for index, entry in enumerate(self._entries()):
                if entry[0] == pid and begun in (None, entry[1]):
                    struct.pack_into("II", self._slots, index * _WORD, 0, 0)

    @property
    def started(self) -> int:
        """How many processes there have been."""
        return int(struct.unpack_from("Q", self._slots, self.most * _WORD)[0])

    def room(self) -> bool:
        if len(self.members()) < self.most:
            return True
        return len(self.living()) < self.most

    def remember(self, pid: int) -> None:
        """A process has been started: parent and child both say so, at the same time."""
        begun = _begun(pid)
        with self._locked():
            entries = self._entries()
            places = [i for i, entry in enumerate(entries) if entry[0] == pid]
            if places and entries[places[0]][1] == begun:
                return
            free = [i for i, entry in enumerate(entries) if not entry[0]]
            if not places and not free:
                return
            index = (places or free)[0]
            struct.pack_into("II", self._slots, index * _WORD, pid, begun)
            struct.pack_into("Q", self._letters, index * _BOX, 0)
            self._put_card(index, self._own_card)
            struct.pack_into("Q", self._slots, self.most * _WORD, self.started + 1)

    def forget(self, pid: int) -> None:
        """It has been waited for."""
        self._free(pid)

    def handle(self, pid: int) -> int:
        """A descriptor (pidfd_open) that is this member's and nobody else's, whatever becomes of the number. ESRCH."""
        fd = os.pidfd_open(pid)
        if self._is(pid):  # who had the number before it has ended
            return fd
        os.close(fd)
        raise ProcessLookupError(errno.ESRCH, "no such process")

    def send(self, pid: int, number: int) -> None:
        """A signal of the host's to a member. ESRCH."""
        fd = self.handle(pid)
        try:
            signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)

    def chosen(self, wanted: int) -> list[int]:
        """The processes that kill(wanted) means: one, those of a group (0: the own), all but the first (-1)."""
        if wanted > 0:
            return [wanted] if self._is(wanted) else []
        members = self.living()
        if wanted == -1:
            return [pid for pid in members if pid not in (os.getpid(), self.first)]
        group = os.getpgrp() if wanted == 0 else -wanted
        found = []
        for pid in members:
            try:
                if os.getpgid(pid) == group:
                    found.append(pid)
            except ProcessLookupError:
                continue
        return found

    # -- what processes tell of themselves ------------------------------------------------------------

    def _put_card(self, index: int, card: bytes) -> None:
        struct.pack_into("I", self._cards, index * _CARD, len(card))
        self._cards[index * _CARD + 4 : index * _CARD + 4 + len(card)] = card

    def publish(self, card: bytes) -> None:
        """What others may know of this process; who is forked begins with the same."""
        self._own_card = card[: _CARD - 4]
        at = self._box(os.getpid())
        if at is not None:
            with self._locked():
                self._put_card(at // _BOX, self._own_card)

    def card_of(self, pid: int) -> bytes:
        """What another has published."""
        at = self._box(pid)
        if at is None:
            return b""
        with self._locked():
            start = at // _BOX * _CARD
            (size,) = struct.unpack_from("I", self._cards, start)
            return bytes(self._cards[start + 4 : start + 4 + size])

    # -- what a signal says ---------------------------------------------------------------------------

    def _box(self, pid: int) -> int | None:
        """Where the letters for a process are."""
        for index, (known, _) in enumerate(self._entries()):
            if known == pid:
                return index * _BOX
        return None

    def post(self, pid: int, signal: Signal) -> None:
        """Leave it for the process; when the box is full it will know the number only."""
        with self._locked():
            at = self._box(pid)
            if at is None:
                return
            (count,) = struct.unpack_from("Q", self._letters, at)
            if count < _LETTERS:
                _LETTER.pack_into(self._letters, at + 8 + _LETTER.size * count, *signal)
                struct.pack_into("Q", self._letters, at, count + 1)

    def collect(self) -> list[Signal]:
        """What is there for this process."""
        at = self._box(os.getpid())
        if at is None or not struct.unpack_from("Q", self._letters, at)[0]:
            return []
        with self._locked():
            (count,) = struct.unpack_from("Q", self._letters, at)
            struct.pack_into("Q", self._letters, at, 0)
            return [
                Signal(*_LETTER.unpack_from(self._letters, at + 8 + _LETTER.size * i))
                for i in range(min(count, _LETTERS))
            ]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    # -- signals ------------------------------------------------------------------------------------

    def listen(self, arrived: Callable[[int, object], None]) -> None:
        """From now on the host's signals wake this process: SIGCHLD goes to *arrived*."""
        self._open_bell()
        signal.signal(signal.SIGCHLD, arrived)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _open_bell(self) -> None:
        for fd in (self.wakeup, self._bell):
            if fd is not None:
                os.close(fd)
        self.wakeup, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)

    def born(self) -> None:
        """In a child that has just been forked."""
        self.remember(os.getpid())
        if self.wakeup is not None:
            self._open_bell()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def drain(self) -> None:
        """What has rung has been heard."""
        if self.wakeup is not None:
            try:
                while os.read(self.wakeup, 4096):
                    pass
            except BlockingIOError:
                pass


def _begun(pid: int) -> int:
    """When the host's process was started, in its ticks (man 5 proc, stat: starttime); 0 where it does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19]) & 0xFFFFFFFF
    except OSError:
        return 0

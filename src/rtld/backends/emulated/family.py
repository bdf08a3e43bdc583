"""The processes of one emulated machine, and this one's dealings with the host: signals that arrive, what wakes it.

Every guest process is a process of the host's. Which ones belong together stands in memory they share: a guest may only
send signals to those.
"""

from __future__ import annotations

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


class Family:
    """Shared by all processes that descend from one start. *most*: how many there may be."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._lock = os.memfd_create("rtld-family", os.MFD_CLOEXEC)
        self._slots = mmap.mmap(-1, page_up((most + 1) * _WORD))
        self.ipc = IpcStore()
        self._letters = mmap.mmap(-1, page_up(most * _BOX))
        self.first = os.getpid()
        self.wakeup: int | None = None
        self._bell: int | None = None
        #: Signals whose action here a guest has changed, and what it was before.
        self.handlers: dict[int, object] = {}
        self.remember(self.first)

    def _change(self, old: int, new: int) -> bool:
        with self._locked():
            if new and new in self.members():
                return False  # parent and child both say so, at the same time
            for at in range(0, self.most * _WORD, _WORD):
                if struct.unpack_from("Q", self._slots, at)[0] == old:
                    struct.pack_into("Q", self._slots, at, new)
                    if new:
                        struct.pack_into("Q", self._slots, self.most * _WORD, self.started + 1)
                    return True
            return False

    def members(self) -> list[int]:
        """All that have not been waited for."""
        return [pid for (pid,) in struct.iter_unpack("Q", self._slots[: self.most * _WORD]) if pid]

    @property
    def started(self) -> int:
        """How many processes there have been."""
        return int(struct.unpack_from("Q", self._slots, self.most * _WORD)[0])

    def room(self) -> bool:
        return len(self.members()) < self.most

    def remember(self, pid: int) -> None:
        self._change(0, pid)

    def forget(self, pid: int) -> None:
        self._change(pid, 0)

    def chosen(self, wanted: int) -> list[int]:
        """The processes that kill(wanted) means: one, those of a group (0: the own), all but the first (-1)."""
        members = self.members()
        if wanted > 0:
            return [wanted] if wanted in members else []
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

    # -- what a signal says ---------------------------------------------------------------------------

    def _box(self, pid: int) -> int | None:
        """Where the letters for a process are."""
        for index in range(self.most):
            if struct.unpack_from("Q", self._slots, index * _WORD)[0] == pid:
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

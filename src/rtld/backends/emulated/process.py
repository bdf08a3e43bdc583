"""What an emulated machine that is a process has, and a bare one has not: a family, signals of the host, an argument list.

A bare machine (``Process()``) may not fork, and nothing of the host's reaches it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.emulated.family import Family
    from rtld.backends.emulated.linux.ucontext import Signal


class Process:
    """*family*: None for a bare machine. *check*: told the descriptor and name of a program before execve takes it."""

    def __init__(
        self,
        family: Family | None = None,
        argv: list[bytes] | None = None,
        check: Callable[[int, str], None] | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.family = family
        self.argv = argv or []
        self.check = check
        self.random = random

    @property
    def wakeup(self) -> int | None:
        """A descriptor that can be read when a signal has come."""
        return None if self.family is None else self.family.wakeup

    @property
    def is_child(self) -> bool:
        """This process is one that the guest has forked."""
        return self.family is not None and os.getpid() != self.family.first

    @property
    def catches(self) -> bool:
        """Do signals of the host go to the guest?"""
        return self.wakeup is not None

    def replaced(self, number: int, handler: object) -> None:
        """The host's action for a signal has been changed from *handler*."""
        if self.family is not None:
            self.family.handlers.setdefault(number, handler)

    @property
    def is_family(self) -> bool:
        """There is more than one process, or has been."""
        return self.family is not None and self.family.started > 1

    def everyone(self) -> list[int]:
        """The processes there are."""
        return [os.getpid()] if self.family is None else sorted(self.family.living())

    def publish(self, card: bytes) -> None:
        """What others may know of this process."""
        if self.family is not None:
            self.family.publish(card)

    def card_of(self, pid: int) -> bytes:
        """What another process has published."""
        return b"" if self.family is None else self.family.card_of(pid)

    def drain(self) -> None:
        if self.family is not None:
            self.family.drain()

    def born(self) -> None:
        if self.family is not None:
            self.family.born()

    def may_fork(self) -> bool:
        return self.family is not None and self.family.room()

    def remember(self, pid: int) -> None:
        if self.family is not None:
            self.family.remember(pid)

    def forget(self, pid: int) -> None:
        if self.family is not None:
            self.family.forget(pid)

    def handle(self, pid: int) -> int:
        """A descriptor of the host's (pidfd_open) for a process of the family."""
        return os.pidfd_open(os.getpid()) if self.family is None else self.family.handle(pid)

    def send(self, pid: int, number: int) -> None:
        """A signal of the host's to another process of the family."""
        if self.family is not None:
            self.family.send(pid, number)

    def post(self, pid: int, signal: Signal) -> None:
        """Tell another process of the family what the signal is that it is about to get."""
        if self.family is not None:
            self.family.post(pid, signal)

    def collect(self) -> list[Signal]:
        """What others have told this process."""
        return [] if self.family is None else self.family.collect()

    def relatives(self, wanted: int) -> list[int]:
        """The processes that kill(wanted) means."""
        if self.family is not None:
            return self.family.chosen(wanted)
        return [os.getpid()] if wanted in (0, os.getpid()) else []

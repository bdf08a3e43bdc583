"""What all processes of one emulated machine share: files, limits, addresses by chance, who is told."""

from __future__ import annotations

import os

from rtld.backends.emulated import open_machine
from rtld.backends.emulated.linux.tree import Bind, Scratch, Tree
from rtld.backends.emulated.pagecache import PageCache
from rtld.core.record import NamedTuple
from rtld.errors import RtldError
from rtld.events import QUIET
from rtld.process.emulated.layouts import Chance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rtld.arch.base import Arch
    from rtld.backends.emulated.family import Family
    from rtld.backends.emulated.machine import Machine
    from rtld.events import Reporter
    from rtld.process.emulated.observe import Observer
    from rtld.process.hooks import Hooks

MEMORY = 1 << 32


class Link(NamedTuple):
    """How our linker links: PLT slots at their first call (*lazy*) or all at once; LD_LIBRARY_PATH and LD_PRELOAD instead of
    the environment's; who is asked at each event (*hooks*); libraries when a function of them is called first (*lazy_load*);
    *pure*: without the guest's ld.so.
    """

    lazy: bool = True
    library_path: str | None = None
    preload: Any = None
    hooks: Hooks | None = None
    lazy_load: bool = False
    pure: bool = False


class StartFailed(RtldError):
    """The program cannot be linked; ``status`` is what ld.so would have exited with."""

    def __init__(self, text: str, status: int = 127) -> None:
        self.text = text
        self.status = status
        super().__init__(text)

    def __str__(self) -> str:
        return self.text


class System:
    """One emulated machine, as the user has described it.

    sysroot  the guest's root directory; None: an empty one
    binds    more of the host's files (``tree.Bind``)
    seconds, memory  the most a process may take
    net      sockets of this machine and this computer (loopback) are allowed
    seed     of addresses and AT_RANDOM; fixed: no chance at all
    """

    def __init__(
        self,
        *,
        sysroot: str | None = None,
        binds: Iterable[Bind] = (),
        seconds: float | None = None,
        memory: int = MEMORY,
        layout: str = "linux",
        seed: int | None = None,
        fixed: bool = False,
        net: bool = False,
        reporter: Reporter = QUIET,
    ) -> None:
        self.sysroot = os.path.abspath(sysroot) if sysroot is not None else None
        self.binds = list(binds)
        #: What libc makes semaphores and shared memory of (man 7 shm_overview); not the host's.
        self.scratch = Scratch("/dev/shm")  # noqa: S108
        self.tree = self._tree()
        self.seconds = seconds
        self.memory = memory
        self.layout = layout
        self.chance = Chance(seed, fixed=fixed)
        self.net = net
        self.reporter = reporter
        self.cwd = "/"  # of the first process
        self.family: Family | None = None
        self.cache = PageCache()
        self.link: Link | None = None
        self.last: Any = None  # the process (execve.Process) that has ended last
        self.unknown: dict[str, int] = {}
        self.observers: list[Observer] = []

    @property
    def is_first(self) -> bool:
        """This is the first process of the run, and not one that it has forked."""
        return self.family is None or os.getpid() == self.family.first

    def open(self, arch: Arch) -> Machine:
        """A CPU with nothing in its memory, that sees the system's files."""
        machine = open_machine(
            arch.name,
            first=0x10000,
            memory=self.memory,
            seconds=self.seconds,
            descriptors={fd: fd for fd in range(3) if _is_given(fd)},
        )
        machine.kernel.set_tree(self.tree, self.cwd)
        machine.kernel.net = self.net
        machine.memory.page_in(self.cache)
        return machine

    def bind(self, host: str, guest: str, *, writable: bool = True) -> None:
        """Let the guest see another of the host's files."""
        self.binds.append(Bind(host, guest, writable))
        self.tree = self._tree()

    def _tree(self) -> Tree:
        """The user's binds, which come first, and our own."""
        own = self.scratch.guest
        given = any(bind.guest == own[: len(bind.guest)] for bind in self.binds if bind.guest)
        return Tree(self.sysroot, self.binds if given else [*self.binds, self.scratch])


def _is_given(fd: int) -> bool:
    """Whether an executed program would get the descriptor: it is neither closed nor a file of our own."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False

"""The guest's kernel: a system call comes in, its handler is looked up by name, the result goes back.

The handlers are the ``sys_`` functions of ``linux``, one file a subject. A call that has none returns ENOSYS, and is counted
under its name in ``unknown``. What a guest can do is what those functions do, and nothing else.
"""

from __future__ import annotations

import errno
import struct
from collections import defaultdict
from functools import partial

from rtld.backends.emulated.callnumbers import call_names
from rtld.backends.emulated.faults import LimitReached
from rtld.backends.emulated.gate import BOTH, NOTHING, SECOND
from rtld.backends.emulated.linux.calls import Away, Ended, Sleep
from rtld.backends.emulated.linux.ipc import Ipc
from rtld.backends.emulated.linux.messages import Messages
from rtld.errors import NoSpace, TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtld.backends.emulated.linux.tasks import Task
    from rtld.backends.emulated.machine import Machine

__all__ = ["STANDARD", "Ended", "Kernel"]

STANDARD = {0: 0, 1: 1, 2: 2}

#: Calls that libc tries and does without: not told as missing.
TRIED = {
    "rseq",
    "clone3",
    "riscv_hwprobe",
    "openat2",
    "futex_waitv",
    "io_uring_setup",
    "seccomp",
}


class Kernel(Messages, Ipc):
    """What a system call reaches. *descriptors*: the guest's -> the host's."""

    def __init__(self, machine: Machine, descriptors: Mapping[int, int]) -> None:
        super().__init__(machine)
        self._counts: defaultdict[int, int] = defaultdict(int)
        self.unknown: dict[str, int] = {}
        self.set_descriptors(descriptors)
        self.listings = {}
        self.set_tree(None)
        self.start_tasks()
        self.start_signals()
        self.start_timers()
        self.start_process()
        self.start_ipc()
        self.start_sockets()
        self.start_messages()
        cpu = self.cpu
        self._results = machine.gate.results
        self._immediate, self._advance = cpu.entry.immediate, cpu.entry.advance
        self._stack, self._error = cpu.entry.stack, cpu.entry.error
        self._names = call_names(cpu.name)
        self._served: dict[int, Callable[..., int]] = {
            number: getattr(self, f"sys_{name}")
            for number, name in self._names.items()
            if hasattr(self, f"sys_{name}")
        }
        # Where mmap has its six arguments in memory, because the oldest convention had registers for five.
        if "mmap" in self._names.values() and cpu.name in ("i386", "s390x"):
            number = next(n for n, name in self._names.items() if name == "mmap")
            self._served[number] = self.old_mmap
        self.trace: Callable[[str, tuple[int, ...], int | None], object] | None = None

    def inherit(self, old: Kernel) -> None:
        """A new program in the place of the *old* one's: what execve leaves as it is (man 2 execve)."""
        for fd in sorted(old.cloexec & set(old.descriptors)):
            old.drop(fd)
        self.descriptors, self.owned, self.names = old.descriptors, old.owned, old.names
        self.counters, self.notices, self.fixed = old.counters, old.notices, old.fixed
        self.epolls, self.signalfds, self.pidfds = old.epolls, old.signalfds, old.pidfds
        self.kept, self.pending, self.arrivals = old.kept, old.pending, old.arrivals
        self.timeouts, self.held = old.timeouts, old.held
        self.cwd, self.umask, self.limits, self.limit_files = (
            old.cwd,
            old.umask,
            old.limits,
            old.limit_files,
        )
        self.task.mask, self.task.pending = old.task.mask, old.task.pending
        self.actions = {number: action for number, action in old.actions.items() if action[0] == 1}
        for number in set(old.actions) - set(self.actions):
            old.actions.pop(number)
            old.reset_host(number)

    def serve(self, found: tuple[int, ...]) -> int:
        """The CPU has come to a system call (*found*: ``Gate``): do it, and put the result where the guest expects it."""
        pc, number = found[1], found[2]
        if self._immediate:
            number = self.memory.byte(pc + 1) or number
        number &= 0xFFFFFFFF
        self.task.again = False
        self._counts[number] += 1
        function = self._served.get(number)
        if function is None:
            result = self._refuse(number)
        else:
            try:
                result = function(*found[3:], *(self.stacked(self._stack) if self._stack else ()))
            except Sleep as sleep:
                self.task.number = number
                self.machine.leave(self.machine.call_at(pc), partial(self.park, sleep))
                return NOTHING
            except Away as away:
                self.machine.leave(self.machine.call_at(pc), away.action)
                return NOTHING
            except LimitReached:
                raise
            except TargetFault:
                result = -errno.EFAULT
            except NoSpace:
                result = -errno.ENOMEM
            except OSError as error:
                result = -(error.errno or errno.EIO)
            except (ValueError, OverflowError, struct.error):
                result = -errno.EINVAL  # a number that the host's functions do not take
        task = self.task
        task.deadline = None
        results = self._results
        if self._error:
            self.give_result(result)
        else:
            results[1] = result & self.mask
        if self.trace is not None:
            self.trace(self._name(number), found[3:], result)
        if self.pending or task.pending:
            self.machine.leave(self.machine.behind_call(pc), _nothing)
        elif self._advance:
            results[0] = pc + self._advance
            return BOTH
        return NOTHING if self._error else SECOND

    def _refuse(self, number: int) -> int:
        """A call that is not served."""
        name = self._name(number)
        if name not in TRIED:
            self.unknown[name] = self.unknown.get(name, 0) + 1
        return -errno.ENOSYS

    def _name(self, number: int) -> str:
        return self._names.get(number, f"number {number}")

    @property
    def calls(self) -> dict[str, int]:
        """System calls that were made: name -> how often."""
        return {self._name(number): count for number, count in self._counts.items()}

    def call_name(self, task: Task) -> str:
        """The call that a sleeping task is in."""
        return self._names.get(task.number, "")

    def waiting(self) -> bool:
        """Is there anything but going on with the one task there is?"""
        task = self.task
        return bool(
            len(self.tasks) > 1
            or self.pending
            or task.pending
            or self.timer_due()
            or task.sleep
            or task is not self.tasks[0]
        )


def _nothing() -> None:
    """Only stop."""

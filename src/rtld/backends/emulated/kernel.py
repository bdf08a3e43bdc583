"""The guest's kernel: a system call comes in, its handler is looked up by name, the result goes back.

The handlers are the ``sys_`` functions of ``linux``, one file a subject. A call that has none returns ENOSYS, and is counted
under its name in ``unknown``. What a guest can do is what those functions do, and nothing else.
"""

from __future__ import annotations

import errno
import struct
from functools import partial

from rtld.backends.emulated.callnumbers import call_names
from rtld.backends.emulated.faults import LimitReached
from rtld.backends.emulated.linux.calls import Away, Ended, Sleep
from rtld.backends.emulated.linux.ipc import Ipc
from rtld.backends.emulated.linux.sockets import Sockets
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


class Kernel(Sockets, Ipc):
    """What a system call reaches. *descriptors*: the guest's -> the host's."""

    def __init__(self, machine: Machine, descriptors: Mapping[int, int]) -> None:
        super().__init__(machine)
        self.calls: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self.set_descriptors(descriptors)
        self.listings = {}
        self.epolls = {}
        self.set_tree(None)
        self.start_tasks()
        self.start_signals()
        self.start_timers()
        self.start_process()
        self.start_ipc()
        self.start_sockets()
        cpu = self.cpu
        self._registers = self.engine.bank(cpu.entry.number, *cpu.entry.arguments, cpu.pc)
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
        self.counters, self.notices = old.counters, old.notices
        self.timeouts, self.held = old.timeouts, old.held
        self.cwd, self.umask, self.limits, self.limit_files = (
            old.cwd,
            old.umask,
            old.limits,
            old.limit_files,
        )
        self.task.mask = old.task.mask
        self.actions = {number: action for number, action in old.actions.items() if action[0] == 1}
        for number in set(old.actions) - set(self.actions):
            old.actions.pop(number)
            old.reset_host(number)

    def serve(self) -> None:
        """The CPU has come to a system call: do it, and put the result where the guest expects it."""
        entry = self.cpu.entry
        number, *arguments, pc = self._registers.read()
        if entry.immediate:
            number = self.memory.view(pc, 2)[1] or number
        number &= 0xFFFFFFFF
        if entry.stack:
            arguments += self.stacked(entry.stack)
        self.task.again = False
        name = self._names.get(number, f"number {number}")
        self.calls[name] = self.calls.get(name, 0) + 1
        function = self._served.get(number)
        if function is None:
            if name not in TRIED:
                self.unknown[name] = self.unknown.get(name, 0) + 1
            result = -errno.ENOSYS
        else:
            try:
                result = function(*arguments)
            except Sleep as sleep:
                self.task.number = number
                self.machine.leave(self.machine.call_at(pc), partial(self.park, sleep))
                return
            except Away as away:
                self.machine.leave(self.machine.call_at(pc), away.action)
                return
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
        self.task.deadline = None
        if entry.advance:
            self.engine.set(self.cpu.pc, pc + entry.advance)
        if entry.error:
            self.give_result(result)
        else:
            self.engine.set(entry.result, result & self.mask)
        if self.trace is not None:
            self.trace(name, tuple(arguments), result)
        if self.pending or self.task.pending:
            self.machine.leave(self.machine.behind_call(pc), _nothing)

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

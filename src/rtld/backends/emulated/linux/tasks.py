"""Threads: clone, and who runs next. All threads of a process share one emulated CPU, in turns.

A task that cannot go on raises ``Sleep``: its registers stay as they were before the call, and it makes the call again when
it wakes. The CPU is only ever taken from a task while it stands still, outside of hooks.
"""

from __future__ import annotations

import errno
import os
import select
import time

from rtld.backends.emulated.linux.calls import Away, Ended, Sleep, failed
from rtld.backends.emulated.linux.clocks import Clocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.emulated.linux.ucontext import Frame, Signal

# fmt: off
CLONE_VM, CLONE_FILES, CLONE_SIGHAND, CLONE_VFORK, CLONE_THREAD = 0x100, 0x400, 0x800, 0x4000, 0x10000
CLONE_PIDFD, CLONE_DETACHED = 0x1000, 0x400000
CLONE_SETTLS, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x80000, 0x100000, 0x200000, 0x1000000
LONGEST = 0.5  # seconds of one wait, when nothing else would end it
# fmt: on


class Task:
    """A thread of the guest's. ``context``: its registers, while another one runs."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.context: object = None
        self.resume = 0  # where it goes on
        self.sleep: Sleep | None = None
        self.again = False  # it has woken, and has not made its call again: no signal comes between
        self.deadline: float | None = None  # of the call it makes again
        self.result: int | None = None  # of the call it slept in
        self.clear = 0  # clear_child_tid
        self.stack: tuple[int, int] | None = None  # lowest address, size
        self.mask = 0  # signals that are blocked
        self.pending: list[Signal] = []  # signals sent to this thread
        #: What signal handlers have interrupted: all registers, where it goes on, the frame's address and kind.
        self.frames: list[tuple[object, int, int, Frame]] = []
        self.alternate = (0, 2, 0)  # sigaltstack: address, flags, size
        self.suspended: int | None = None  # the mask that sigsuspend has replaced
        self.robust = (0, 0)
        self.number = 0


class Tasks(Clocks):
    """``tasks``: all threads; ``task``: the one whose registers are in the CPU."""

    tasks: list[Task]
    task: Task
    next_tid = 0
    #: Called when a thread begins that has a thread pointer of its own, with its registers in the CPU.
    born: Callable[[], object] | None = None

    def start_tasks(self) -> None:
        """One thread, whose number is the process's."""
        self.task = Task(os.getpid())
        self.tasks = [self.task]
        self.next_tid = self.task.tid

    def crowded(self) -> bool:
        return len(self.tasks) > 1

    def resumed(self) -> float | None:
        return self.task.deadline

    # -- turns --------------------------------------------------------------------------------------

    def park(self, sleep: Sleep) -> None:
        """The task sleeps; it makes its call again."""
        self.task.sleep = sleep
        self.task.again = False
        self.task.deadline = sleep.deadline
        self.task.result = None

    def schedule(self, *, turn: bool) -> None:
        """Put a task that can run into the CPU. *turn*: the one that runs has had its time. Waits while all sleep."""
        if len(self.tasks) == 1 and self.task.sleep is None and self.task in self.tasks:
            return
        while True:
            now = time.monotonic()
            self.machine.kernel.expire_timers()
            self._wake(now)
            order = self.tasks
            if self.task in order:
                at = order.index(self.task) + (1 if turn or self.task.sleep is not None else 0)
                order = order[at:] + order[:at]
            for task in order:
                if task.sleep is None or self.machine.kernel.has_signal(task):
                    self.switch(task)
                    return
            self._wait(now)

    def switch(self, task: Task) -> None:
        """Put a task that can run into the CPU."""
        if task is not self.task:
            if self.task in self.tasks:
                self.task.context = self.engine.save()
                self.task.resume = self.machine.resume
            self.engine.restore(task.context)
            self.machine.resume = task.resume
            self.task = task
            self.machine.switched(task)
        if task.result is not None and task.sleep is None:
            self.machine.finish_call(task.result)
            task.result = None
            task.deadline = None

    def _wake(self, now: float) -> None:
        """Whose time has come, or whose descriptor is ready."""
        if self.machine.kernel.signalfds:
            self.machine.kernel.ring_sleepers()
        poll = None
        waiting: dict[int, list[Task]] = {}
        for task in self.tasks:
            sleep = task.sleep
            if sleep is None:
                continue
            if sleep.signals and self.machine.kernel.wanted_signal(task):
                self._retry(task)
                continue
            if sleep.again is not None and now >= sleep.again:
                self._retry(task)
                continue
            if sleep.deadline is not None and now >= sleep.deadline:
                if sleep.futex is not None:
                    task.result = -errno.ETIMEDOUT
                self._retry(task)
                continue
            for fds, event in ((sleep.read, select.POLLIN), (sleep.write, select.POLLOUT)):
                for fd in fds:
                    poll = poll or select.poll()
                    poll.register(fd, event)
                    waiting.setdefault(fd, []).append(task)
        if poll is not None:
            for fd, _event in poll.poll(0):
                for task in waiting[fd]:
                    self._retry(task)

    @staticmethod
    def _retry(task: Task) -> None:
        task.sleep = None
        task.again = task.result is None

    def _wait(self, now: float) -> None:
        """Nothing can run: until a descriptor is ready, a signal comes or it is time."""
        ends = [
            end
            for task in self.tasks
            if task.sleep is not None
            for end in (task.sleep.deadline, task.sleep.again)
            if end is not None
        ]
        timer = self.machine.kernel.next_timer
        if timer is not None:
            ends.append(timer)
        limit = self.machine.deadline
        if limit is not None:
            if now >= limit:
                raise self.machine.late()
            ends.append(limit)
        poll = select.poll()
        wake = self.machine.process.wakeup
        if wake is not None:
            poll.register(wake, select.POLLIN)
        for task in self.tasks:
            if task.sleep is not None:
                for fd in task.sleep.read:
                    poll.register(fd, select.POLLIN)
                for fd in task.sleep.write:
                    poll.register(fd, select.POLLOUT)
        left = min(ends) - now if ends else LONGEST
        for fd, _event in poll.poll(max(min(left, LONGEST), 0) * 1000 + 0.5):
            if fd == wake:
                self.machine.process.drain()
        for task in self.tasks:
            if task.sleep is not None and task.sleep.children:
                self._retry(task)

    # -- making and ending them ---------------------------------------------------------------------

    def sys_clone(self, *arguments: int) -> int:
        flags, stack, parent, child, tls = self._clone_arguments(arguments)
        if flags & CLONE_THREAD and flags & CLONE_PIDFD:
            raise failed(errno.EINVAL)
        if flags & CLONE_THREAD and flags & CLONE_VM:
            return self._new_thread(flags, stack, parent, child, tls)
        return self.fork(flags, stack, parent, child, tls)

    def _clone_arguments(self, a: tuple[int, ...]) -> tuple[int, int, int, int, int]:
        """(flags, stack, parent_tid, child_tid, tls): the order is a CPU's own (CONFIG_CLONE_BACKWARDS)."""
        if self.cpu.name == "x86_64":
            return a[0], a[1], a[2], a[3], a[4]
        if self.cpu.name == "s390x":
            return a[1], a[0], a[2], a[3], a[4]
        return a[0], a[1], a[2], a[4], a[3]

    def fork(self, flags: int, stack: int, parent: int, child: int, tls: int) -> int:
        raise NotImplementedError

    def new_tid(self) -> int:
        self.next_tid += 1
        return self.next_tid

    def _new_thread(self, flags: int, stack: int, parent: int, child: int, tls: int) -> int:
        tid = self.new_tid()
        if flags & CLONE_PARENT_SETTID:
            self.write32(parent, tid)
        if flags & CLONE_CHILD_SETTID:
            self.write32(child, tid)

        def start() -> None:
            """With the CPU standing behind the call: the new task is a copy that has got 0."""
            old, new = self.task, Task(tid)
            new.mask = old.mask
            new.number = len(self.tasks)
            new.clear = child if flags & CLONE_CHILD_CLEARTID else 0
            keep, at = self.engine.save(), self.machine.resume
            if self.machine.segments is not None:
                self.machine.segments.adopt(new)
            self.task = new
            self.machine.finish_call(0)
            self.engine.set(self.cpu.sp, stack)
            if flags & CLONE_SETTLS:
                self.set_tls(tls)
                if self.born is not None:
                    self.born()
            new.context, new.resume = self.engine.save(), self.machine.resume
            self.task, self.machine.resume = old, at
            self.engine.restore(keep)
            self.machine.switched(old)
            self.machine.finish_call(tid)
            self.tasks.append(new)
            self.machine.quicken()

        raise Away(start)

    def set_tls(self, value: int) -> None:
        """The thread pointer, as clone gets it."""
        raise NotImplementedError

    def sys_exit(self, status: int, *_: int) -> int:
        task = self.task
        if len(self.tasks) == 1:
            raise Ended(status & 0xFF)
        self.thread_ends(task)

        def leave() -> None:
            self.tasks.remove(task)

        raise Away(leave)

    def thread_ends(self, task: Task) -> None:
        """Tell those who wait for a thread, or for what it holds."""
        raise NotImplementedError

    def sys_exit_group(self, status: int, *_: int) -> int:
        raise Ended(status & 0xFF)

    def sys_gettid(self, *_: int) -> int:
        return self.task.tid

    def sys_set_tid_address(self, address: int, *_: int) -> int:
        self.task.clear = address
        return self.task.tid

    def sys_sched_yield(self, *_: int) -> int:
        if len(self.tasks) == 1:
            return 0

        def give() -> None:
            self.machine.finish_call(0)
            self.machine.turn = True

        raise Away(give)

    def sys_rt_sigreturn(self, *_: int) -> int:
        raise NotImplementedError

"""Signals: handlers, masks, sending.

A handler's frame has siginfo and room for a ucontext; the registers that it interrupts are kept here, not on its stack.
Where the frame is comes from the kernel's own (arch/*/kernel/signal.c): above the stack pointer nothing is touched.
"""

from __future__ import annotations

import errno
import os
import signal

from rtld.backends.emulated.linux.calls import Away, Ended, Sleep, failed, int32
from rtld.backends.emulated.linux.tasks import Task, Tasks
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.faults import Fault

# fmt: off
SA_SIGINFO, SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND = 4, 0x08000000, 0x10000000, 0x40000000, 0x80000000
SIG_DFL, SIG_IGN = 0, 1
SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2
SS_ONSTACK, SS_DISABLE = 1, 2
SIGKILL, SIGSTOP, SIGCHLD, SIGCONT = 9, 19, 17, 18
IGNORED = {17, 18, 23, 28}           # by default: CHLD, CONT, URG, WINCH
STOPS = {20, 21, 22}                 # TSTP, TTIN, TTOU
OWN = {4, 5, 7, 8, 9, 11, 19, 32, 33}  # never the host's: what a CPU raises, what cannot be caught, what libc uses
SI_USER, SI_TKILL = 0, -6
RED_ZONE = {"x86_64": 128}
AREA = {"s390x": 160}                # of a caller, where the callee saves registers
UCONTEXT = 1536                      # room for the largest ucontext_t, zeros
#: Calls that are not made again after a handler, SA_RESTART or not (man 7 signal).
NEVER_AGAIN = {
    "nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "poll", "ppoll", "ppoll_time64", "select", "_newselect",
    "pselect6", "pselect6_time64", "epoll_wait", "epoll_pwait", "rt_sigsuspend", "pause", "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
}
# fmt: on


class Signals(Tasks):
    """``actions``: signal -> (handler, flags, mask, restorer)."""

    actions: dict[int, tuple[int, int, int, int]]
    pending: list[tuple[int, int, int]]  # of the process: (number, code, sender)
    blocking_host: set[int]

    def start_signals(self) -> None:
        self.actions = {}
        self.pending = []
        self._return = self.machine.trap(self._returned)

    # -- the host's signals -------------------------------------------------------------------------

    def arrived(self, number: int, _frame: object = None) -> None:
        """The host has a signal for us: it is the guest's."""
        if number == SIGCHLD or self.actions.get(number, (0,))[0] > SIG_IGN:
            self.pending.append((number, SI_USER, 0))

    def _tell_host(self, number: int) -> None:
        """What the host is to do when that signal comes from outside."""
        if not self.machine.process.catches or number in OWN or number >= 32:
            return
        handler = self.actions.get(number, (SIG_DFL,))[0]
        if handler == SIG_IGN and number != SIGCHLD:
            signal.signal(number, signal.SIG_IGN)
        elif handler > SIG_IGN or number == SIGCHLD:
            signal.signal(number, self.arrived)
        else:
            signal.signal(number, signal.SIG_DFL)

    def reset_host(self, number: int) -> None:
        """The action of a signal has gone back to what it is by default."""
        self._tell_host(number)

    # -- actions ------------------------------------------------------------------------------------

    @property
    def _form(self) -> str:
        return "LLQ" if self.cpu.name == "riscv64" else "LLLQ"

    def sys_rt_sigaction(self, number: int, new: int, old: int, size: int, *_: int) -> int:
        if not 0 < number <= 64 or size != 8:
            raise failed(errno.EINVAL)
        handler, flags, mask, restorer = self.actions.get(number, (0, 0, 0, 0))
        before = (
            (handler, flags, mask)
            if self.cpu.name == "riscv64"
            else (handler, flags, restorer, mask)
        )
        if new:
            if number in (SIGKILL, SIGSTOP):
                raise failed(errno.EINVAL)
            got = self.unpack(self._form, new)
            self.actions[number] = (got[0], got[1], got[-1], got[2] if len(got) == 4 else 0)
            self._tell_host(number)
        if old:
            self.put(old, self.pack(self._form, *before))
        return 0

    def sys_signal(self, number: int, handler: int, *_: int) -> int:
        before = self.actions.get(number, (0, 0, 0, 0))[0]
        self.actions[number] = (handler, SA_RESETHAND | SA_NODEFER, 0, 0)
        self._tell_host(number)
        return before

    def sys_rt_sigprocmask(self, how: int, new: int, old: int, size: int, *_: int) -> int:
        if size != 8:
            raise failed(errno.EINVAL)
        task = self.task
        before = task.mask
        if new:
            (given,) = self.unpack("Q", new)
            given &= ~(1 << SIGKILL - 1 | 1 << SIGSTOP - 1)
            if how == SIG_BLOCK:
                task.mask |= given
            elif how == SIG_UNBLOCK:
                task.mask &= ~given
            elif how == SIG_SETMASK:
                task.mask = given
            else:
                raise failed(errno.EINVAL)
        if old:
            self.put(old, self.pack("Q", before))
        return 0

    def sys_rt_sigpending(self, result: int, _size: int, *_: int) -> int:
        waiting = 0
        for number, _code, _sender in [*self.task.pending, *self.pending]:
            waiting |= 1 << number - 1
        self.put(result, self.pack("Q", waiting & self.task.mask))
        return 0

    def sys_sigaltstack(self, new: int, old: int, *_: int) -> int:
        task = self.task
        address, flags, size = task.alternate
        on = bool(
            not flags & SS_DISABLE and address <= self.engine.get(self.cpu.sp) < address + size
        )
        if old:
            self.put(
                old, self.pack("LI4xL" if self.bits == 64 else "LIL", address, flags | on, size)
            )
        if new:
            if on:
                raise failed(errno.EPERM)
            address, flags, size = self.unpack("LI4xL" if self.bits == 64 else "LIL", new)
            task.alternate = (address, flags & SS_DISABLE, size)
        return 0

    # -- sending ------------------------------------------------------------------------------------

    def send_self(self, number: int) -> None:
        self.pending.append((number, SI_USER, os.getpid()))

    def sys_kill(self, pid: int, number: int, *_: int) -> int:
        wanted = int32(pid)
        if not 0 <= number <= 64:
            raise failed(errno.EINVAL)
        if wanted == os.getpid():
            if number:
                self.pending.append((number, SI_USER, os.getpid()))
            return 0
        found = self.machine.process.relatives(wanted)
        if not found:
            raise failed(errno.ESRCH)
        for other in found:
            if other == os.getpid():
                if number:
                    self.pending.append((number, SI_USER, other))
            elif number < 32 or number not in (32, 33):
                os.kill(other, number)
        return 0

    def sys_tgkill(self, pid: int, tid: int, number: int, *_: int) -> int:
        if int32(pid) != os.getpid():
            raise failed(errno.ESRCH)
        return self.sys_tkill(tid, number)

    def sys_tkill(self, tid: int, number: int, *_: int) -> int:
        if not 0 <= number <= 64:
            raise failed(errno.EINVAL)
        for task in self.tasks:
            if task.tid == int32(tid):
                if number:
                    task.pending.append((number, SI_TKILL, os.getpid()))
                return 0
        raise failed(errno.ESRCH)

    # -- delivery -----------------------------------------------------------------------------------

    def has_signal(self, task: Task) -> bool:
        """Is there one that does something to this task?"""
        return any(
            not task.mask >> number - 1 & 1 and not self._ignored(number)
            for number, _, _ in [*task.pending, *self.pending]
        )

    def _ignored(self, number: int) -> bool:
        handler = self.actions.get(number, (SIG_DFL,))[0]
        return handler == SIG_IGN or (handler == SIG_DFL and number in IGNORED)

    def deliver(self) -> None:
        """Signals of the task in the CPU, which stands still."""
        task = self.task
        while task.pending or self.pending:
            for queue in (task.pending, self.pending):
                chosen = next((entry for entry in queue if not task.mask >> entry[0] - 1 & 1), None)
                if chosen is not None:
                    queue.remove(chosen)
                    break
            else:
                return
            self._act(task, *chosen)

    def _act(self, task: Task, number: int, code: int, sender: int) -> None:
        handler = self.actions.get(number, (0, 0, 0, 0))[0]
        if self._ignored(number):
            if number == SIGCHLD:
                self._children_changed()
            return
        if handler == SIG_DFL:
            if number in STOPS or number == SIGSTOP:
                os.kill(os.getpid(), SIGSTOP)
                return
            raise Ended(128 + number, number)
        if number == SIGCHLD:
            self._children_changed()
        self._interrupt(task, number)
        self.enter_handler(task, number, code, sender, 0)

    def _children_changed(self) -> None:
        for task in self.tasks:
            if task.sleep is not None and task.sleep.children:
                task.sleep = None

    def _interrupt(self, task: Task, number: int) -> None:
        """The call it sleeps in ends, or is made again after the handler."""
        if task.sleep is None:
            return
        flags = self.actions[number][1]
        again = flags & SA_RESTART and self.machine.kernel.call_name(task) not in NEVER_AGAIN
        task.sleep = None
        if not again:
            self.machine.finish_call(-errno.EINTR)
            task.deadline = None

    def handles(self, fault: Fault) -> bool:
        """The guest did something wrong: has it a handler for that? If so, the CPU is in it now."""
        handler = self.actions.get(fault.signal, (SIG_DFL,))[0]
        if handler <= SIG_IGN or self.task.mask >> fault.signal - 1 & 1:
            return False
        try:
            self.enter_handler(self.task, fault.signal, 1, 0, fault.address or fault.pc or 0)
        except TargetFault:
            return False  # no stack for it
        return True

    def enter_handler(self, task: Task, number: int, code: int, sender: int, address: int) -> None:
        """Make the CPU run the handler; TargetFault where there is no stack for it."""
        handler, flags, mask, _restorer = self.actions[number]
        cpu, engine = self.cpu, self.engine
        context, resume = engine.save(), self.machine.resume
        sp = engine.get(cpu.sp)
        low, disabled, size = task.alternate
        if flags & SA_ONSTACK and not disabled & SS_DISABLE and not low <= sp < low + size:
            top = low + size
        else:
            top = sp - RED_ZONE.get(cpu.name, 0)
        info = (top - 128 - UCONTEXT) & -16
        user = info + 128
        head = self.pack(
            "iii4xii4xL" if self.bits == 64 else "iiiiiI", number, 0, code, sender, os.getuid(), 0
        )
        if address:
            head = self.pack("iii4xL" if self.bits == 64 else "iiiI", number, 0, code, address)
        self.put(info, head.ljust(128, b"\0"))
        self.put(user, bytes(UCONTEXT))
        sp = info - AREA.get(cpu.name, 0)
        before = task.mask if task.suspended is None else task.suspended
        task.suspended = None
        sp = self._pass(sp & -16, number, info, user)
        engine.set(cpu.sp, sp)
        task.frames = [frame for frame in task.frames if frame[3] > sp or flags & SA_ONSTACK]
        task.frames.append((before, context, resume, sp))
        task.mask |= mask | (0 if flags & SA_NODEFER else 1 << number - 1)
        if flags & SA_RESETHAND:
            self.actions[number] = (SIG_DFL, flags, mask, 0)
            self._tell_host(number)
        self.machine.resume = handler

    def _pass(self, sp: int, number: int, info: int, user: int) -> int:
        """Arguments and return address; the stack pointer."""
        cpu, engine = self.cpu, self.engine
        if cpu.name == "i386":
            sp -= 28
            self.put(sp, self.pack("IIII", self._return, number, info, user))
            for register, value in (("eax", number), ("edx", info), ("ecx", user)):
                engine.set(register, value)
            return sp
        for register, value in zip(cpu.arguments, (number, info, user), strict=False):
            engine.set(register, value)
        if cpu.link:
            engine.set(cpu.link, self._return)
        else:
            sp -= 8
            self.put(sp, self.pack("L", self._return))
            engine.set("rax", 0)
        return sp

    def _returned(self) -> int:
        """A handler has returned, to our trap."""
        self.machine.leave(self.engine.get(self.cpu.pc), self._restore)
        return self._return

    def sys_rt_sigreturn(self, *_: int) -> int:
        raise Away(self._restore)

    sys_sigreturn = sys_rt_sigreturn

    def _restore(self) -> None:
        task = self.task
        sp = self.engine.get(self.cpu.sp)
        while len(task.frames) > 1 and not task.frames[-1][3] <= sp <= task.frames[-1][3] + 256:
            task.frames.pop()
        if not task.frames:
            raise Ended(128 + 11, 11)
        task.mask, context, self.machine.resume, _ = task.frames.pop()
        self.engine.restore(context)
        self.machine.switched(task)

    # -- waiting for one ----------------------------------------------------------------------------

    def sys_rt_sigsuspend(self, mask: int, _size: int, *_: int) -> int:
        task = self.task
        if task.suspended is None:
            task.suspended = task.mask
        (task.mask,) = self.unpack("Q", mask)
        raise Sleep

    def sys_pause(self, *_: int) -> int:
        raise Sleep

    def _timedwait(self, mask: int, info: int, timeout: int, *, wide: bool) -> int:
        import time

        (wanted,) = self.unpack("Q", mask)
        for queue in (self.task.pending, self.pending):
            for entry in queue:
                if wanted >> entry[0] - 1 & 1:
                    queue.remove(entry)
                    if info:
                        self.put(info, self.pack("iii", entry[0], 0, entry[1]).ljust(128, b"\0"))
                    return entry[0]
        deadline = self.until(self.nanoseconds(timeout, wide=wide) / 1e9) if timeout else None
        if deadline is not None and time.monotonic() >= deadline:
            raise failed(errno.EAGAIN)
        ends = time.monotonic() + 0.02
        raise Sleep(deadline=ends if deadline is None else min(deadline, ends))

    def sys_rt_sigtimedwait(self, mask: int, info: int, timeout: int, _size: int, *_: int) -> int:
        return self._timedwait(mask, info, timeout, wide=False)

    def sys_rt_sigtimedwait_time64(
        self, mask: int, info: int, timeout: int, _size: int, *_: int
    ) -> int:
        return self._timedwait(mask, info, timeout, wide=True)

    # -- alarms -------------------------------------------------------------------------------------

    def sys_alarm(self, seconds: int, *_: int) -> int:
        return signal.alarm(seconds) if self.machine.process.catches else 0

    def sys_setitimer(self, which: int, new: int, old: int, *_: int) -> int:
        seconds, part, first, rest = self.unpack("llll", new)[0:4]
        if not self.machine.process.catches:
            raise failed(errno.EPERM)
        value, interval = signal.setitimer(which, first + rest / 1e6, seconds + part / 1e6)
        if old:
            self.put(
                old,
                self.pack(
                    "LLLL", int(interval), int(interval % 1 * 1e6), int(value), int(value % 1 * 1e6)
                ),
            )
        return 0

    def sys_getitimer(self, which: int, result: int, *_: int) -> int:
        value, interval = signal.getitimer(which)
        self.put(
            result,
            self.pack(
                "LLLL", int(interval), int(interval % 1 * 1e6), int(value), int(value % 1 * 1e6)
            ),
        )
        return 0

"""Signals: handlers, masks, sending.

How a handler is entered and left is in ``frames``.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from rtld.backends.emulated.linux import mips
from rtld.backends.emulated.linux.calls import Ended, Sleep, failed, int32
from rtld.backends.emulated.linux.frames import (
    NEVER,
    SA_SIGINFO,
    SIG_DFL,
    SIGSEGV,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    Frames,
)
from rtld.backends.emulated.linux.ucontext import SI_KERNEL, SI_TKILL, SI_USER, Signal, unpack_info
from rtld.backends.emulated.memory import READ
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.faults import Fault
    from rtld.backends.emulated.linux.tasks import Task

# fmt: off
SA_RESTART, SA_NODEFER, SA_RESETHAND = 0x10000000, 0x40000000, 0x80000000
SIG_IGN = 1
SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2
SYNCHRONOUS = {4, 5, 7, 8, 11, 31}   # what the CPU or a call raises
FIRST_REAL_TIME, MOST_WAITING = 32, 4096
SIGKILL, SIGSTOP, SIGCHLD = 9, 19, 17
IGNORED = {17, 18, 23, 28}           # by default: CHLD, CONT, URG, WINCH
STOPS = {20, 21, 22}                 # TSTP, TTIN, TTOU
OWN = {4, 5, 7, 8, 9, 11, 19, 32, 33}  # never the host's: what a CPU raises, what cannot be caught, what libc uses
ITIMERS = {14, 26, 27}               # ALRM, VTALRM, PROF
#: What the host keeps for us as soon as it has been blocked once: all but these, and what stops or is ignored on the host.
KEPT = ~sum(1 << number - 1 for number in {*OWN, *STOPS, 13, 17})
MINIMUM = {"aarch64": 5120}          # MINSIGSTKSZ, elsewhere 2048
#: Calls that are not made again after a handler, SA_RESTART or not (man 7 signal).
NEVER_AGAIN = {
    "nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "poll", "ppoll", "ppoll_time64", "select", "_newselect",
    "pselect6", "pselect6_time64", "epoll_wait", "epoll_pwait", "rt_sigsuspend", "pause", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "epoll_pwait2",
}
# fmt: on


class Signals(Frames):
    """``pending``: signals of the process, that no thread has got yet; ``arrivals``: how many there have been in all.

    ``kept``: those that were blocked at some time (a mask). From then on we catch them, though there be no handler: the host
    would end this process, where they are to wait.
    """

    pending: list[Signal]  # of the process
    arrivals = 0
    kept = 0

    def start_signals(self) -> None:
        self.actions = {}
        self.pending = []
        self.start_frames()

    # -- the host's signals -------------------------------------------------------------------------

    def arrived(self, number: int, _frame: object = None) -> None:
        """The host has a signal for us: it is the guest's."""
        told = self.machine.process.collect()
        for signal_ in told:
            if signal_.number != number and not self._caught(signal_.number):
                continue  # the host has dealt with it
            self.queue(self.pending, signal_)
        if not any(signal_.number == number for signal_ in told):
            if number == SIGCHLD:
                self.queue(self.pending, _child())
            elif self._caught(number):
                self.queue(
                    self.pending, Signal(number, SI_KERNEL if number in ITIMERS else SI_USER)
                )

    def _caught(self, number: int) -> bool:
        """Does the host leave it to us?"""
        handler = self.actions.get(number, (SIG_DFL,))[0]
        return handler > SIG_IGN or (handler == SIG_DFL and bool(self.kept >> number - 1 & 1))

    def keep(self, mask: int) -> None:
        """These are blocked now."""
        new = mask & KEPT & ~self.kept
        self.kept |= new
        self._tell_host_of(new)

    def _tell_host_of(self, mask: int) -> None:
        if self.machine.process.catches:
            for number in range(1, signal.NSIG):
                if mask >> number - 1 & 1:
                    self._tell_host(number)

    def listen(self) -> None:
        """This program has taken another's place: what the host has caught for that one is for this one now."""
        self._tell_host_of(self.kept)
        if self.machine.process.is_family:
            self.machine.kernel.publish()

    def queue(self, waiting: list[Signal], new: Signal) -> None:
        """Put a signal with those that wait; of one that is not a real-time signal there is one at most."""
        again = new.number < FIRST_REAL_TIME and any(old.number == new.number for old in waiting)
        if not again and len(waiting) < MOST_WAITING:
            waiting.append(new)
            self.arrivals += 1

    def _tell_host(self, number: int) -> None:
        """What the host is to do when that signal comes from outside."""
        if not self.machine.process.catches or number in OWN:
            return
        handler = self.actions.get(number, (SIG_DFL,))[0]
        if handler == SIG_IGN and number != SIGCHLD:
            before = signal.signal(number, signal.SIG_IGN)
        elif number == SIGCHLD or self._caught(number):
            before = signal.signal(number, self.arrived)
        else:
            before = signal.signal(number, signal.SIG_DFL)
        self.machine.process.replaced(number, before)

    def reset_host(self, number: int) -> None:
        """The action of a signal has gone back to what it is by default."""
        self._tell_host(number)

    # -- actions ------------------------------------------------------------------------------------

    def _read_action(self, address: int) -> tuple[int, int, int, int]:
        """A struct sigaction of the kernel's: handler, flags, mask, restorer."""
        if self.is_mips:
            flags, handler = self.unpack("I4xL" if self.bits == 64 else "IL", address)
            flags = flags & ~mips.SA_SIGINFO | (SA_SIGINFO if flags & mips.SA_SIGINFO else 0)
            return handler, flags, self.read_mask(address + 2 * self.word), 0
        got = self.unpack("LLQ" if self.cpu.name == "riscv64" else "LLLQ", address)
        return got[0], got[1], got[-1], got[2] if len(got) == 4 else 0

    def _action_bytes(self, handler: int, flags: int, mask: int, restorer: int) -> bytes:
        if self.is_mips:
            own = flags & ~SA_SIGINFO | (mips.SA_SIGINFO if flags & SA_SIGINFO else 0)
            head = self.pack("I4xL" if self.bits == 64 else "IL", own, handler)
            return head + self.mask_bytes(mask)
        if self.cpu.name == "riscv64":
            return self.pack("LLQ", handler, flags, mask)
        return self.pack("LLLQ", handler, flags, restorer, mask)

    def sys_rt_sigaction(self, number: int, new: int, old: int, size: int, *_: int) -> int:
        number = self.signal_number(number)
        if not number or size != self.mask_size:
            raise failed(errno.EINVAL)
        before = self.actions.get(number, (0, 0, 0, 0))
        if new:
            if number in (SIGKILL, SIGSTOP):
                raise failed(errno.EINVAL)
            self.actions[number] = self._read_action(new)
            self._tell_host(number)
        if old:
            self.put(old, self._action_bytes(*before))
        return 0

    def sys_signal(self, number: int, handler: int, *_: int) -> int:
        number = self.signal_number(number)
        before = self.actions.get(number, (0, 0, 0, 0))[0]
        self.actions[number] = (handler, SA_RESETHAND | SA_NODEFER, 0, 0)
        self._tell_host(number)
        return before

    def sys_rt_sigprocmask(self, how: int, new: int, old: int, size: int, *_: int) -> int:
        if size != self.mask_size:
            raise failed(errno.EINVAL)
        task = self.task
        before = task.mask
        if new:
            given = self.read_mask(new) & ~NEVER
            how -= 1 if self.is_mips else 0
            if how == SIG_BLOCK:
                task.mask |= given
            elif how == SIG_UNBLOCK:
                task.mask &= ~given
            elif how == SIG_SETMASK:
                task.mask = given
            else:
                raise failed(errno.EINVAL)
            if task.mask & KEPT & ~self.kept:
                self.keep(task.mask)
        if old:
            self.put(old, self.mask_bytes(before))
        return 0

    def sys_rt_sigpending(self, result: int, _size: int, *_: int) -> int:
        waiting = 0
        for each in [*self.task.pending, *self.pending]:
            waiting |= 1 << each.number - 1
        self.put(result, self.mask_bytes(waiting & self.task.mask))
        return 0

    def sys_sigaltstack(self, new: int, old: int, *_: int) -> int:
        task = self.task
        address, flags, size = task.alternate
        on = bool(
            not flags & SS_DISABLE and address <= self.engine.get(self.cpu.sp) < address + size
        )
        if old:
            self.put(old, self.stack_bytes(address, flags | on, size))
        if new:
            if on:
                raise failed(errno.EPERM)
            address, flags, size = self.read_stack(new)
            if flags & ~(SS_DISABLE | SS_ONSTACK | SS_AUTODISARM):
                raise failed(errno.EINVAL)
            if not flags & SS_DISABLE and size < MINIMUM.get(self.cpu.name, 2048):
                raise failed(errno.ENOMEM)
            task.alternate = (address, flags & SS_DISABLE, size)
        return 0

    # -- sending ------------------------------------------------------------------------------------

    def send_self(self, number: int) -> None:
        self.queue(self.pending, Signal(number, SI_USER, os.getpid(), os.getuid()))

    def _send(self, pid: int, signal_: Signal) -> None:
        """To a process of the family, maybe this one."""
        if pid == os.getpid():
            self.queue(self.pending, signal_)
        elif signal_.number not in (32, 33):
            self.machine.process.post(pid, signal_)
            self.machine.process.send(pid, signal_.number)

    def sys_kill(self, pid: int, number: int, *_: int) -> int:
        wanted, number = int32(pid), self.signal_number(number)
        found = [os.getpid()] if wanted == os.getpid() else self.machine.process.relatives(wanted)
        if not found:
            raise failed(errno.ESRCH)
        for other in found:
            if number:
                self._send(other, Signal(number, SI_USER, os.getpid(), os.getuid()))
        return 0

    def sys_tgkill(self, pid: int, tid: int, number: int, *_: int) -> int:
        if int32(pid) != os.getpid():
            raise failed(errno.ESRCH)
        return self.sys_tkill(tid, number)

    def sys_tkill(self, tid: int, number: int, *_: int) -> int:
        task, number = self._task(tid), self.signal_number(number)
        if number:
            self.queue(task.pending, Signal(number, SI_TKILL, os.getpid(), os.getuid()))
        return 0

    def _task(self, tid: int) -> Task:
        for task in self.tasks:
            if task.tid == int32(tid):
                return task
        raise failed(errno.ESRCH)

    def given_info(self, info: int) -> Signal:
        """The siginfo that a program gives."""
        data = bytes(self.memory.view(info, 128, READ))
        if self.is_mips:  # si_code stands before si_errno
            data = data[:4] + data[8:12] + data[4:8] + data[12:]
        got = unpack_info(data, self.cpu.order, self.bits)
        return got._replace(number=self.signal_number(got.number))

    def _given(self, number: int, info: int) -> Signal:
        """The same for a signal of that number; it cannot pretend to be the kernel."""
        got = self.given_info(info)
        number = self.signal_number(number)
        if not number:
            raise failed(errno.EINVAL)
        if got.code >= 0 or got.code == SI_TKILL:
            raise failed(errno.EPERM)
        return got._replace(number=number)

    def sys_rt_sigqueueinfo(self, pid: int, number: int, info: int, *_: int) -> int:
        wanted = int32(pid)
        signal_ = self._given(number, info)
        if wanted != os.getpid() and wanted not in self.machine.process.relatives(wanted):
            raise failed(errno.ESRCH)
        self._send(wanted, signal_)
        return 0

    def sys_rt_tgsigqueueinfo(self, pid: int, tid: int, number: int, info: int, *_: int) -> int:
        signal_ = self._given(number, info)
        if int32(pid) != os.getpid():
            raise failed(errno.ESRCH)
        self.queue(self._task(tid).pending, signal_)
        return 0

    # -- delivery -----------------------------------------------------------------------------------

    def has_signal(self, task: Task) -> bool:
        """Is there one that does something to this task?"""
        return any(
            not task.mask >> each.number - 1 & 1 and not self._ignored(each.number)
            for each in [*task.pending, *self.pending]
        )

    def taken(self, signal_: Signal) -> None:
        """A thread gets a signal that has waited."""

    def wanted_signal(self, task: Task) -> bool:
        """Is there one that its sigwait wants?"""
        wanted = task.sleep.signals if task.sleep is not None else 0
        return wanted != 0 and any(
            wanted >> each.number - 1 & 1 for each in [*task.pending, *self.pending]
        )

    def _ignored(self, number: int) -> bool:
        handler = self.actions.get(number, (SIG_DFL,))[0]
        return handler == SIG_IGN or (handler == SIG_DFL and number in IGNORED)

    def deliver(self) -> None:
        """Signals of the task in the CPU, which stands still."""
        task = self.task
        while (task.pending or self.pending) and not task.again:
            for waiting in (task.pending, self.pending):
                free = [each for each in waiting if not task.mask >> each.number - 1 & 1]
                if free:
                    # Faults before others, the lowest number first (kernel/signal.c, next_signal).
                    chosen = min(
                        free, key=lambda each: (each.number not in SYNCHRONOUS, each.number)
                    )
                    waiting.remove(chosen)
                    self.taken(chosen)
                    break
            else:
                return
            self._act(task, chosen)

    def _act(self, task: Task, signal_: Signal) -> None:
        number = signal_.number
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
        try:
            self.enter_handler(task, signal_)
        except TargetFault:
            raise Ended(128 + SIGSEGV, SIGSEGV) from None  # no stack for it

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
        again = again and not task.sleep.done
        result = task.sleep.done or -errno.EINTR
        broken, task.sleep = task.sleep.broken, None
        if not again:
            if broken is not None:
                try:
                    broken()
                except TargetFault:
                    pass  # there is no such memory: nobody is told
            self.machine.finish_call(result)
            task.deadline = None

    def handles(self, fault: Fault) -> bool:
        """The guest did something wrong: has it a handler for that? If so, the CPU is in it now."""
        handler = self.actions.get(fault.signal, (SIG_DFL,))[0]
        if handler <= SIG_IGN or self.task.mask >> fault.signal - 1 & 1:
            return False
        address = (fault.pc or 0) if fault.address is None else fault.address
        try:
            self.enter_handler(
                self.task, Signal(fault.signal, self.code_of(fault), value=address), fault
            )
        except TargetFault:
            return False  # no stack for it
        return True

    # -- waiting for one ----------------------------------------------------------------------------

    def sys_rt_sigsuspend(self, mask: int, _size: int, *_: int) -> int:
        task = self.task
        if task.suspended is None:
            task.suspended = task.mask
        task.mask = self.read_mask(mask) & ~NEVER
        raise Sleep

    def sys_pause(self, *_: int) -> int:
        raise Sleep

    def _timedwait(self, mask: int, info: int, timeout: int, *, wide: bool) -> int:
        wanted = self.read_mask(mask)
        for waiting in (self.task.pending, self.pending):
            for each in sorted(waiting, key=lambda each: each.number):
                if wanted >> each.number - 1 & 1:
                    waiting.remove(each)
                    self.taken(each)
                    if info:
                        self.put(info, self.info_bytes(each))
                    return self.signal_out(each.number)
        deadline = self.until(self.nanoseconds(timeout, wide=wide) / 1e9) if timeout else None
        if deadline is not None and time.monotonic() >= deadline:
            raise failed(errno.EAGAIN)
        raise Sleep(deadline=deadline, signals=wanted)

    def sys_rt_sigtimedwait(self, mask: int, info: int, timeout: int, _size: int, *_: int) -> int:
        return self._timedwait(mask, info, timeout, wide=False)

    def sys_rt_sigtimedwait_time64(
        self, mask: int, info: int, timeout: int, _size: int, *_: int
    ) -> int:
        return self._timedwait(mask, info, timeout, wide=True)


def _child() -> Signal:
    """SIGCHLD, with the first child that can be waited for."""
    try:
        found = os.waitid(
            os.P_ALL, 0, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT
        )
    except ChildProcessError:
        found = None
    if found is None:
        return Signal(SIGCHLD)
    return Signal(SIGCHLD, found.si_code, found.si_pid, found.si_uid, 0, found.si_status)

"""Timers: alarm and setitimer, which are the host's; timer_create's, which are kept here.

timer_create's are looked at between two runs of the CPU, and while all threads sleep: ``next_timer`` says when the next one
ends. They belong to the process, and neither fork nor execve passes them on (man 2 timer_create).
"""

from __future__ import annotations

import errno
import signal
import time

from rtld.backends.emulated.linux.calls import failed, int32
from rtld.backends.emulated.linux.signals import Signals
from rtld.backends.emulated.linux.ucontext import SI_TIMER, Signal

# fmt: off
_BILLION = 1_000_000_000
SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4
TIMER_ABSTIME = 1
MOST = 256               # timers of one process
OVERRUNS = 0x7FFFFFFF    # DELAYTIMER_MAX
TICK = 0.002             # seconds between two looks at timers
#: Clocks that a timer may have: realtime, monotonic, of the process and of the thread, boottime.
CLOCKS = {0, 1, 2, 3, 7}
# fmt: on


class Timer:
    """One of timer_create's. ``ends``: by its clock, nanoseconds; 0: it does not run. ``last``: overruns of the signal got last."""

    __slots__ = (
        "clock",
        "ends",
        "interval",
        "last",
        "notify",
        "number",
        "overrun",
        "task",
        "value",
    )

    def __init__(self, clock: int, notify: int, number: int, value: int, task: int) -> None:
        self.clock = clock
        self.notify = notify
        self.number = number
        self.value = value
        self.task = task
        self.ends = self.interval = self.overrun = self.last = 0

    @property
    def left(self) -> int:
        """Nanoseconds until it ends."""
        return max(self.ends - time.clock_gettime_ns(self.clock), 1)


class Timers(Signals):
    """``timers``: number -> Timer; ``next_timer``: when to look at them, by time.monotonic(); None: there is nothing."""

    timers: dict[int, Timer]
    next_timer: float | None = None

    def start_timers(self) -> None:
        self.timers = {}

    # -- of the process ------------------------------------------------------------------------------

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

    # -- timer_create -------------------------------------------------------------------------------

    def sys_timer_create(self, clock: int, event: int, result: int, *_: int) -> int:
        clock = int32(clock)
        if clock < 0:  # of a process or thread (clock_getcpuclockid)
            clock = time.CLOCK_THREAD_CPUTIME_ID if clock & 4 else time.CLOCK_PROCESS_CPUTIME_ID
        if clock not in CLOCKS:
            raise failed(errno.EINVAL)
        number = next(i for i in range(MOST + 1) if i not in self.timers)
        if number == MOST:
            raise failed(errno.EAGAIN)
        value, signo, notify, tid = number, int(signal.SIGALRM), SIGEV_SIGNAL, 0
        if event:
            value, signo, notify, tid = self.unpack("Liii", event)
        if notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID):
            raise failed(errno.EINVAL)
        if notify != SIGEV_NONE and not 0 < signo <= 64:
            raise failed(errno.EINVAL)
        if notify == SIGEV_THREAD_ID and all(task.tid != tid for task in self.tasks):
            raise failed(errno.EINVAL)
        self.write32(result, number)
        own = tid if notify == SIGEV_THREAD_ID else 0
        self.timers[number] = Timer(clock, notify, signo, value, own)
        return 0

    def _timer(self, number: int) -> Timer:
        found = self.timers.get(int32(number))
        if found is None:
            raise failed(errno.EINVAL)
        return found

    def sys_timer_delete(self, number: int, *_: int) -> int:
        self._timer(number)
        del self.timers[int32(number)]
        self._plan()
        return 0

    def sys_timer_getoverrun(self, number: int, *_: int) -> int:
        return self._timer(number).last

    def taken(self, signal_: Signal) -> None:
        timer = self.timers.get(signal_.pid) if signal_.code == SI_TIMER else None
        if timer is not None:
            timer.last = signal_.extra

    def _set_timer(self, number: int, flags: int, new: int, old: int, *, wide: bool) -> int:
        timer = self._timer(number)
        interval, value = self.settings(new, wide=wide)
        before = timer.interval, timer.left if timer.ends else 0
        timer.interval, timer.overrun, timer.ends = interval, 0, 0
        if value:
            now = 0 if flags & TIMER_ABSTIME else time.clock_gettime_ns(timer.clock)
            timer.ends = now + value
        if old:
            self.put_settings(old, *before, wide=wide)
        self._plan()
        return 0

    def sys_timer_settime(self, number: int, flags: int, new: int, old: int, *_: int) -> int:
        return self._set_timer(number, flags, new, old, wide=self.bits == 64)

    def sys_timer_settime64(self, number: int, flags: int, new: int, old: int, *_: int) -> int:
        return self._set_timer(number, flags, new, old, wide=True)

    def _get_timer(self, number: int, result: int, *, wide: bool) -> int:
        timer = self._timer(number)
        left = timer.left if timer.ends else 0
        self.put_settings(result, timer.interval, left, wide=wide)
        return 0

    def sys_timer_gettime(self, number: int, result: int, *_: int) -> int:
        return self._get_timer(number, result, wide=self.bits == 64)

    def sys_timer_gettime64(self, number: int, result: int, *_: int) -> int:
        return self._get_timer(number, result, wide=True)

    def _plan(self) -> None:
        """When the next one ends; the CPU is stopped often enough to notice."""
        running = [timer.left for timer in self.timers.values() if timer.ends]
        self.next_timer = time.monotonic() + min(running) / _BILLION if running else None
        if running:
            self.machine.look_often(TICK)

    def timer_due(self) -> bool:
        """Is it time for one of them?"""
        return self.next_timer is not None and time.monotonic() >= self.next_timer

    def expire_timers(self) -> None:
        """Send the signals of those that have ended."""
        if not self.timer_due():
            return
        for timer in self.timers.values():
            if not timer.ends:
                continue
            late = time.clock_gettime_ns(timer.clock) - timer.ends
            if late < 0:
                continue
            missed = late // timer.interval if timer.interval else 0
            timer.ends = timer.ends + (missed + 1) * timer.interval if timer.interval else 0
            self._notify(timer, missed)
        self._plan()

    def _notify(self, timer: Timer, missed: int) -> None:
        if timer.notify == SIGEV_NONE:
            return
        number = next(n for n, each in self.timers.items() if each is timer)
        waiting = self.pending
        for task in self.tasks:
            if task.tid == timer.task:
                waiting = task.pending
        for each in waiting:
            if each.number == timer.number and each.code == SI_TIMER and each.pid == number:
                timer.overrun = min(timer.overrun + 1 + missed, OVERRUNS)
                waiting[waiting.index(each)] = each._replace(extra=timer.overrun)
                return
        timer.overrun = min(missed, OVERRUNS)
        told = Signal(timer.number, SI_TIMER, number, 0, timer.value, timer.overrun)
        self.queue(waiting, told)

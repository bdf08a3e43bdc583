"""Futexes: what libc makes mutexes, semaphores and joins of (man 2 futex); and the mutexes of threads that have ended.

Waiters are in this process's own table. A futex in memory that processes share has waiters in others, too: there everyone
looks again every two milliseconds whether the word has changed.
"""

from __future__ import annotations

import errno
import time

from rtld.backends.emulated.linux.calls import Sleep, failed, int32
from rtld.backends.emulated.linux.tasks import Task, Tasks
from rtld.errors import TargetFault

# fmt: off
FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP = 0, 1, 3, 4, 5
FUTEX_LOCK_PI, FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_LOCK_PI2 = 6, 7, 8, 13
FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET, FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME = 9, 10, 0x80, 0x100
FUTEX_WAITERS, FUTEX_OWNER_DIED, FUTEX_TID_MASK = 0x80000000, 0x40000000, 0x3FFFFFFF
ROBUST_LIST_LIMIT = 2048
ALL_BITS = 0xFFFFFFFF
PAUSE = 0.002  # seconds between two looks at a word that other processes change
# fmt: on


class Futexes(Tasks):
    """``Sleep.futex`` is the address that a task waits at."""

    def sys_futex(
        self, at: int, operation: int, value: int, timeout: int, other: int, extra: int
    ) -> int:
        return self._futex(at, operation, value, timeout, other, extra, wide=False)

    def sys_futex_time64(
        self, at: int, operation: int, value: int, timeout: int, other: int, extra: int
    ) -> int:
        return self._futex(at, operation, value, timeout, other, extra, wide=True)

    def _futex(
        self,
        at: int,
        operation: int,
        value: int,
        timeout: int,
        other: int,
        extra: int,
        *,
        wide: bool,
    ) -> int:
        command = operation & 0x7F
        if at % 4:
            raise failed(errno.EINVAL)
        if command in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
            if self.read32(at) != value & 0xFFFFFFFF:
                raise failed(errno.EAGAIN)
            deadline = self._deadline(
                timeout,
                absolute=command == FUTEX_WAIT_BITSET,
                real=bool(operation & FUTEX_CLOCK_REALTIME),
                wide=wide,
            )
            bits = extra & ALL_BITS if command == FUTEX_WAIT_BITSET else ALL_BITS
            if not bits:
                raise failed(errno.EINVAL)
            raise Sleep(deadline=deadline, futex=at, bits=bits, pause=self._pause(at, operation))
        if command in (FUTEX_WAKE, FUTEX_WAKE_BITSET):
            self.read32(at)
            return self.futex_wake(
                at, int32(value), extra & ALL_BITS if command == FUTEX_WAKE_BITSET else ALL_BITS
            )
        if command in (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE):
            if command == FUTEX_CMP_REQUEUE and self.read32(at) != extra & 0xFFFFFFFF:
                raise failed(errno.EAGAIN)
            woken = self.futex_wake(at, int32(value), ALL_BITS)
            moved = self._waiters(at)[: max(int32(timeout), 0)]
            for task in moved:
                if task.sleep is not None:
                    task.sleep.futex = other
            return woken + (len(moved) if command == FUTEX_CMP_REQUEUE else 0)
        if command == FUTEX_WAKE_OP:
            return self._wake_op(at, value, timeout, other, extra)
        if command in (FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_TRYLOCK_PI):
            real = command == FUTEX_LOCK_PI or bool(operation & FUTEX_CLOCK_REALTIME)
            deadline = self._deadline(timeout, absolute=True, real=real, wide=wide)
            tries = command == FUTEX_TRYLOCK_PI
            return self._lock_pi(at, deadline, tries=tries, pause=self._pause(at, operation))
        if command == FUTEX_UNLOCK_PI:
            return self._unlock_pi(at)
        raise failed(errno.ENOSYS)

    def _deadline(self, timeout: int, *, absolute: bool, real: bool, wide: bool) -> float | None:
        """Of time.monotonic(); *timeout*: where the time stands, 0 for none."""
        if not timeout:
            return None
        wanted = self.nanoseconds(timeout, wide=wide) / 1e9
        if absolute:
            wanted -= time.time() if real else time.monotonic()
        return self.until(wanted)

    def _pause(self, at: int, operation: int) -> float:
        """After how long to look again: processes tell one another nothing. 0: never."""
        return 0 if operation & FUTEX_PRIVATE_FLAG or not self.memory.is_shared(at) else PAUSE

    def _waiters(self, at: int, bits: int = ALL_BITS) -> list[Task]:
        """The tasks that sleep there, who came first at the front."""
        found = [
            (task.sleep.serial, task)
            for task in self.tasks
            if task.sleep is not None and task.sleep.futex == at and task.sleep.bits & bits
        ]
        found.sort(key=lambda pair: pair[0])
        return [task for _, task in found]

    def futex_wake(self, at: int, count: int, bits: int) -> int:
        """Wake so many of those who sleep there; how many there were."""
        woken = self._waiters(at, bits)[: max(count, 0)]
        for task in woken:
            task.sleep = None
            task.result = 0
        return len(woken)

    def _wake_op(self, at: int, count: int, second: int, other: int, code: int) -> int:
        kind, compare = code >> 28 & 0xF, code >> 24 & 0xF
        operand, against = code >> 12 & 0xFFF, code & 0xFFF
        if kind & 8:
            operand = 1 << (operand & 31)
        old = self.read32(other)
        results = {0: operand, 1: old + operand, 2: old | operand, 3: old & ~operand, 4: old ^ operand}  # fmt: skip
        signed = int32(old)
        holds = {
            0: signed == against,
            1: signed != against,
            2: signed < against,
            3: signed <= against,
            4: signed > against,
            5: signed >= against,
        }
        if kind & 7 not in results or compare not in holds:
            raise failed(errno.ENOSYS)
        self.write32(other, results[kind & 7])
        woken = self.futex_wake(at, int32(count), ALL_BITS)
        if holds[compare]:
            woken += self.futex_wake(other, int32(second), ALL_BITS)
        return woken

    # -- priority inheritance -----------------------------------------------------------------------

    def _lock_pi(self, at: int, deadline: float | None, *, tries: bool, pause: float) -> int:
        """The word is the owner's number. There are no priorities here: who came first gets it next."""
        task = self.task
        word = self.read32(at)
        owner = word & FUTEX_TID_MASK
        if not owner:
            waiting = FUTEX_WAITERS if self._waiters(at) or word & FUTEX_WAITERS else 0
            self.write32(at, task.tid | waiting | word & FUTEX_OWNER_DIED)
            return 0
        if owner == task.tid:
            raise failed(errno.EDEADLK)
        if tries:
            raise failed(errno.EAGAIN)
        if not pause and not any(other.tid == owner for other in self.tasks):
            raise failed(errno.ESRCH)
        self.write32(at, word | FUTEX_WAITERS)
        raise Sleep(deadline=deadline, futex=at, pause=pause)

    def _unlock_pi(self, at: int) -> int:
        word = self.read32(at)
        if word & FUTEX_TID_MASK != self.task.tid:
            raise failed(errno.EPERM)
        self._pass_on(at, 0)
        return 0

    def _pass_on(self, at: int, died: int) -> None:
        """The first who waits is the owner now."""
        waiters = self._waiters(at)
        more = FUTEX_WAITERS if len(waiters) > 1 or self.memory.is_shared(at) else 0
        self.write32(at, (waiters[0].tid | more if waiters else 0) | died)
        self.futex_wake(at, 1, ALL_BITS)

    # -- threads that have ended --------------------------------------------------------------------

    def sys_set_robust_list(self, head: int, size: int, *_: int) -> int:
        self.task.robust = (head, size)
        return 0

    def sys_get_robust_list(self, pid: int, head: int, size: int, *_: int) -> int:
        wanted = int32(pid) or self.task.tid
        found = next((task for task in self.tasks if task.tid == wanted), None)
        if found is None:
            raise failed(errno.ESRCH)
        self.put(head, self.pack("L", found.robust[0]))
        self.put(size, self.pack("L", found.robust[1]))
        return 0

    def thread_ends(self, task: Task) -> None:
        """Mutexes that it holds, and who waits for its end (kernel/fork.c, mm_release)."""
        self.release_mutexes(task)
        if task.clear:
            try:
                self.write32(task.clear, 0)
            except TargetFault:
                return  # nobody can wait there
            self.futex_wake(task.clear, 1, ALL_BITS)

    def release_mutexes(self, task: Task) -> None:
        """Mutexes that a dead thread holds (kernel/futex/core.c, exit_robust_list)."""
        head, _size = task.robust
        if not head:
            return
        try:
            first, offset, pending = self.words(head, 3)
            at = first
            for _ in range(ROBUST_LIST_LIMIT):
                if at in (0, head):
                    break
                if at != pending:
                    self._owner_died(task, at, offset)
                (at,) = self.words(at & ~1, 1)
            if pending:
                self._owner_died(task, pending, offset, pending=True)
        except TargetFault:
            return  # the list is the guest's: whatever is in it

    def _owner_died(self, task: Task, entry: int, offset: int, *, pending: bool = False) -> None:
        """*entry*: of the list; bit 0: the mutex inherits priorities. *pending*: it may have been unlocked already."""
        place = (entry & ~1) + self.signed(offset) & self.mask
        if place % 4:
            return
        value = self.read32(place)
        if pending and not value and not entry & 1:
            self.futex_wake(place, 1, ALL_BITS)  # unlocked, and nobody told
        elif value & FUTEX_TID_MASK == task.tid:
            if entry & 1:
                self._pass_on(place, FUTEX_OWNER_DIED)
                return
            self.write32(place, value & FUTEX_WAITERS | FUTEX_OWNER_DIED)
            if value & FUTEX_WAITERS:
                self.futex_wake(place, 1, ALL_BITS)

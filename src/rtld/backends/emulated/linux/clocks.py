"""Time: clocks and sleep. Structures come in two widths: a CPU of 32 bits has calls of the old one and of the new."""

from __future__ import annotations

import errno
import os
import time

from rtld.backends.emulated.linux.calls import Calls, Sleep, failed, int32

_BILLION = 1_000_000_000
CLOCKS = range(12)
TIMER_ABSTIME = 1


class Clocks(Calls):
    """Clocks are the host's."""

    def nanoseconds(self, address: int, *, wide: bool) -> int:
        """struct timespec; *wide*: with 64-bit fields."""
        seconds, rest = self.unpack("qq" if wide and self.bits == 32 else "ll", address)
        if wide and self.bits == 32:
            rest &= 0xFFFFFFFF
        if seconds < 0 or not 0 <= rest < _BILLION:
            raise failed(errno.EINVAL)
        return int(seconds * _BILLION + rest)

    def put_time(self, address: int, nanoseconds: int, *, wide: bool) -> int:
        self.put(address, self.pack("qq" if wide else "LL", *divmod(nanoseconds, _BILLION)))
        return 0

    def settings(self, address: int, *, wide: bool) -> tuple[int, int]:
        """struct itimerspec: interval, value; nanoseconds."""
        size = 16 if wide else 2 * self.word
        return (
            self.nanoseconds(address, wide=wide),
            self.nanoseconds(address + size, wide=wide),
        )

    def put_settings(self, address: int, interval: int, left: int, *, wide: bool) -> None:
        size = 16 if wide else 2 * self.word
        self.put_time(address, interval, wide=wide)
        self.put_time(address + size, left, wide=wide)

    def _clock(self, clock: int) -> int:
        number = int32(clock)
        if number < 0:
            number = (
                time.CLOCK_PROCESS_CPUTIME_ID if number & 4 == 0 else time.CLOCK_THREAD_CPUTIME_ID
            )
        try:
            return time.clock_gettime_ns(number)
        except OSError:
            raise failed(errno.EINVAL) from None

    def sys_clock_gettime(self, clock: int, result: int, *_: int) -> int:
        return self.put_time(result, self._clock(clock), wide=False)

    def sys_clock_gettime64(self, clock: int, result: int, *_: int) -> int:
        return self.put_time(result, self._clock(clock), wide=True)

    def sys_clock_getres(self, clock: int, result: int, *_: int) -> int:
        return self.put_time(result, 1, wide=False) if result else 0

    def sys_clock_getres_time64(self, clock: int, result: int, *_: int) -> int:
        return self.put_time(result, 1, wide=True) if result else 0

    def sys_gettimeofday(self, result: int, zone: int, *_: int) -> int:
        if result:
            seconds, rest = divmod(time.time_ns(), _BILLION)
            self.put(result, self.pack("LL", seconds, rest // 1000))
        if zone:
            self.put(zone, bytes(8))
        return 0

    def sys_time(self, result: int, *_: int) -> int:
        now = int(time.time())
        if result:
            self.put(result, self.pack("L", now))
        return now

    def sys_times(self, result: int, *_: int) -> int:
        spent = os.times()
        if result:
            self.put(result, self.pack("LLLL", *(int(value * 100) for value in spent[:4])))
        return int(spent.elapsed * 100) & self.mask >> 1

    # -- sleep --------------------------------------------------------------------------------------

    def resumed(self) -> float | None:
        """The deadline of the sleep that this call goes on with; None if it is made for the first time."""
        return None

    def until(self, seconds: float | None) -> float | None:
        """The deadline of a call that may wait so long; kept when the call is made again."""
        kept = self.resumed()
        return kept if kept is not None or seconds is None else time.monotonic() + seconds

    def _sleep(self, seconds: float, left: int, *, wide: bool) -> int:
        """*left*: where the rest is told if a handler ends it; 0 for nowhere."""
        deadline = self.until(seconds)
        assert deadline is not None
        if time.monotonic() < deadline:
            sleep = Sleep(deadline=deadline)
            if left:

                def tell() -> None:
                    rest = max(int((deadline - time.monotonic()) * _BILLION), 0)
                    self.put_time(left, rest, wide=wide)

                sleep.broken = tell
            raise sleep
        return 0

    def sys_nanosleep(self, request: int, left: int, *_: int) -> int:
        return self._sleep(self.nanoseconds(request, wide=False) / _BILLION, left, wide=False)

    def _clock_nanosleep(
        self, clock: int, flags: int, request: int, left: int, *, wide: bool
    ) -> int:
        wanted = self.nanoseconds(request, wide=wide)
        if flags & TIMER_ABSTIME:
            wanted = max(wanted - self._clock(clock), 0)
            left = 0
        return self._sleep(wanted / _BILLION, left, wide=wide)

    def sys_clock_nanosleep(self, clock: int, flags: int, request: int, left: int, *_: int) -> int:
        return self._clock_nanosleep(clock, flags, request, left, wide=False)

    def sys_clock_nanosleep_time64(
        self, clock: int, flags: int, request: int, left: int, *_: int
    ) -> int:
        return self._clock_nanosleep(clock, flags, request, left, wide=True)

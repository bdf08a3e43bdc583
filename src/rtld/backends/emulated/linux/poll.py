"""Waiting for descriptors: poll, select, epoll."""

from __future__ import annotations

import errno
import os
import select
import time
from functools import partial

from rtld.backends.emulated.linux.calls import Sleep, failed, int32
from rtld.backends.emulated.linux.frames import NEVER
from rtld.backends.emulated.linux.io import O_CLOEXEC
from rtld.backends.emulated.linux.special import Special
from rtld.backends.emulated.linux.tasks import Tasks
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 1 << 16


class Poll(Special, Tasks):
    """All of them are made of one host poll, and a sleep until one of the descriptors is ready."""

    def _ask(self, wanted: list[tuple[int, int]]) -> dict[int, int]:
        if self.machine.kernel.signalfds:
            self.machine.kernel.ring([self.task])
        poll = select.poll()
        masks: dict[int, int] = {}
        for host, events in wanted:
            masks[host] = masks.get(host, 0) | events
        for host, events in masks.items():
            poll.register(host, events)
        return dict(poll.poll(0))

    def _masked(self, mask: int, call: Callable[[], int], *, looks: bool = True) -> int:
        """The call with other signals blocked until it is over; *mask*: where the set is, 0 for none (man 2 pselect).

        A handler that ends the call finds the old mask in its frame: ``suspended``, as of sigsuspend. *looks*: signals come
        before "nothing is ready", too.
        """
        if not mask:
            return call()
        task = self.task
        if task.suspended is None:
            task.suspended = task.mask
        task.mask = self.read_mask(mask) & ~NEVER
        over = False
        try:
            result = call()
            over = bool(result) or not looks or not self.machine.kernel.has_signal(task)
        except Sleep:
            raise
        except BaseException:
            over = True
            raise
        finally:
            if over:
                task.mask, task.suspended = task.suspended, None
        if not over:
            raise Sleep  # for no time at all: the handler, then EINTR
        return result

    def _timed(self, address: int, form: str, unit: int, call: Callable[[], int]) -> int:
        """The call; then what is left of the time at *address*, in seconds and *unit*ths of one, stands there."""
        task = self.task

        def tell() -> None:
            if address and task.deadline is not None:
                left = max(int((task.deadline - time.monotonic()) * unit), 0)
                self.put(address, self.pack(form, *divmod(left, unit)))

        try:
            result = call()
        except Sleep as sleep:
            sleep.broken = tell
            raise
        try:
            tell()
        except TargetFault:
            pass  # it may be read only (fs/select.c, poll_select_finish)
        return result

    def _wait_for(self, wanted: list[tuple[int, int]], seconds: float | None) -> dict[int, int]:
        """host -> events, empty when the time is over."""
        found = self._ask(wanted)
        if found or seconds == 0:
            return found
        deadline = self.until(seconds)
        if deadline is not None and time.monotonic() >= deadline:
            return {}
        read = tuple(host for host, events in wanted if events & ~select.POLLOUT or not events)
        write = tuple(host for host, events in wanted if events & select.POLLOUT)
        raise Sleep(read=read, write=write, deadline=deadline)

    def _poll(self, address: int, count: int, seconds: float | None) -> int:
        if count > _MOST:
            raise failed(errno.EINVAL)
        entries = [self.unpack("iHH", address + 8 * i) for i in range(count)]
        invalid = any(fd >= 0 and fd not in self.descriptors for fd, _, _ in entries)
        wanted = [
            (self.descriptors[fd], events) for fd, events, _ in entries if fd in self.descriptors
        ]
        found = self._wait_for(wanted, 0 if invalid else seconds)
        number = 0
        for i, (fd, events, _) in enumerate(entries):
            if fd < 0:
                got = 0
            elif fd not in self.descriptors:
                got = select.POLLNVAL
            else:
                got = found.get(self.descriptors[fd], 0) & (
                    events | select.POLLERR | select.POLLHUP | select.POLLNVAL
                )
            number += got != 0
            self.put(address + 8 * i + 6, self.pack("H", got))
        return number

    def sys_poll(self, address: int, count: int, timeout: int, *_: int) -> int:
        milliseconds = int32(timeout)
        return self._poll(address, count, None if milliseconds < 0 else milliseconds / 1000)

    def _timeout(self, address: int, *, wide: bool) -> float | None:
        return self.nanoseconds(address, wide=wide) / 1e9 if address else None

    def sys_ppoll(
        self, address: int, count: int, timeout: int, mask: int, _size: int, *_: int
    ) -> int:
        return self._ppoll(address, count, timeout, mask, wide=False)

    def sys_ppoll_time64(
        self, address: int, count: int, timeout: int, mask: int, _size: int, *_: int
    ) -> int:
        return self._ppoll(address, count, timeout, mask, wide=True)

    def _ppoll(self, address: int, count: int, timeout: int, mask: int, *, wide: bool) -> int:
        seconds = self._timeout(timeout, wide=wide)
        call = partial(self._poll, address, count, seconds)
        return self._masked(mask, partial(self._timed, timeout, _form(wide), 1_000_000_000, call))

    def _select(self, count: int, sets: tuple[int, int, int], seconds: float | None) -> int:
        if count > _MOST:
            raise failed(errno.EINVAL)
        size = -(-count // self.bits) * self.word
        events = (select.POLLIN, select.POLLOUT, select.POLLPRI)
        asked: list[list[int]] = []
        wanted = []
        for address, event in zip(sets, events, strict=True):
            numbers = self._numbers(address, size) if address else []
            asked.append(numbers)
            wanted += [(self.host(fd), event) for fd in numbers]
        found = self._wait_for(wanted, seconds)
        total = 0
        for address, numbers, event in zip(sets, asked, events, strict=True):
            if not address:
                continue
            extra = select.POLLHUP | select.POLLERR if event != select.POLLPRI else 0
            ready = [fd for fd in numbers if found.get(self.descriptors[fd], 0) & (event | extra)]
            total += len(ready)
            bits = sum(1 << fd for fd in ready)
            words = [bits >> self.bits * i & self.mask for i in range(size // self.word)]
            self.put(address, b"".join(word.to_bytes(self.word, self.order) for word in words))
        return total

    def _numbers(self, address: int, size: int) -> list[int]:
        words = self.words(address, size // self.word)
        return [
            self.bits * i + bit
            for i, word in enumerate(words)
            if word
            for bit in range(self.bits)
            if word >> bit & 1
        ]

    def sys_pselect6(
        self, count: int, read: int, write: int, other: int, timeout: int, mask: int, *_: int
    ) -> int:
        return self._pselect(count, (read, write, other), timeout, mask, wide=False)

    def sys_pselect6_time64(
        self, count: int, read: int, write: int, other: int, timeout: int, mask: int, *_: int
    ) -> int:
        return self._pselect(count, (read, write, other), timeout, mask, wide=True)

    def _pselect(
        self, count: int, sets: tuple[int, int, int], timeout: int, mask: int, *, wide: bool
    ) -> int:
        """*mask*: where the address and the size of the mask are, as there is no seventh argument."""
        (where, _size) = self.words(mask, 2) if mask else (0, 0)
        call = partial(self._select, count, sets, self._timeout(timeout, wide=wide))
        return self._masked(where, partial(self._timed, timeout, _form(wide), 1_000_000_000, call))

    def sys__newselect(
        self, count: int, read: int, write: int, other: int, timeout: int, *_: int
    ) -> int:
        seconds = None
        if timeout:
            whole, part = self.unpack("ll", timeout)
            seconds = whole + part / 1e6
        call = partial(self._select, count, (read, write, other), seconds)
        return self._timed(timeout, "LL", 1_000_000, call)

    def sys_select(
        self, count: int, read: int, write: int, other: int, timeout: int, *_: int
    ) -> int:
        return self.sys__newselect(count, read, write, other, timeout)

    # -- epoll --------------------------------------------------------------------------------------

    def sys_epoll_create1(self, flags: int, *_: int) -> int:
        handle = select.epoll(flags=select.EPOLL_CLOEXEC)
        host = os.dup(handle.fileno())
        os.set_inheritable(host, False)
        handle.close()
        return self.add(host, cloexec=bool(self.host_flags(flags) & O_CLOEXEC))

    def sys_epoll_create(self, _size: int, *_: int) -> int:
        return self.sys_epoll_create1(0)

    @property
    def _event(self) -> str:
        """struct epoll_event: packed on x86."""
        return "IQ" if self.cpu.name in ("i386", "x86_64") else "I4xQ"

    def sys_epoll_ctl(self, handle: int, operation: int, fd: int, event: int, *_: int) -> int:
        with_epoll = select.epoll.fromfd(os.dup(self.host(handle)))
        known = self.epolls.setdefault(self.host(handle), {})
        try:
            host = self.host(fd)
            if int32(operation) == 2:
                with_epoll.unregister(host)
                known.pop(host, None)
                return 0
            events, data = self.unpack(self._event, event)
            if int32(operation) == 1:
                with_epoll.register(host, events)
            else:
                with_epoll.modify(host, events)
            known[host] = data
        finally:
            with_epoll.close()
        return 0

    def _epoll_wait(self, handle: int, result: int, most: int, seconds: float | None) -> int:
        host = self.host(handle)
        if not 0 < most < _MOST:
            raise failed(errno.EINVAL)
        self._wait_for([(host, select.POLLIN)], seconds)
        with_epoll = select.epoll.fromfd(os.dup(host))
        try:
            found = with_epoll.poll(0, most)
        finally:
            with_epoll.close()
        data = self.epolls.get(host, {})
        packed = [self.pack(self._event, events, data.get(fd, 0)) for fd, events in found]
        self.put(result, b"".join(packed))
        return len(packed)

    def sys_epoll_pwait(
        self, handle: int, result: int, most: int, timeout: int, mask: int, _size: int, *_: int
    ) -> int:
        milliseconds = int32(timeout)
        seconds = None if milliseconds < 0 else milliseconds / 1000
        call = partial(self._epoll_wait, handle, result, most, seconds)
        return self._masked(mask, call, looks=seconds != 0)

    def sys_epoll_wait(self, handle: int, result: int, most: int, timeout: int, *_: int) -> int:
        return self.sys_epoll_pwait(handle, result, most, timeout, 0, 0)

    def sys_epoll_pwait2(
        self, handle: int, result: int, most: int, timeout: int, mask: int, _size: int, *_: int
    ) -> int:
        seconds = self._timeout(timeout, wide=True)
        call = partial(self._epoll_wait, handle, result, most, seconds)
        return self._masked(mask, call, looks=seconds != 0)


def _form(wide: bool) -> str:
    """struct timespec."""
    return "qq" if wide else "LL"

"""sendmmsg and recvmmsg: several messages by one call (net/socket.c)."""

from __future__ import annotations

import time

from rtld.backends.emulated.linux.calls import Sleep
from rtld.backends.emulated.linux.io import IOV_MAX
from rtld.backends.emulated.linux.sockets import MSG_DONTWAIT, MSG_OOB, Sockets
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MSG_WAITFORONE = 0x10000


class Messages(Sockets):
    """A call that has to wait when it has done some of them is made again, and goes on: ``_begun`` says where."""

    #: Thread -> messages that are done, when recvmmsg is to end (time.monotonic()).
    _begun: dict[int, tuple[int, float | None]]

    def start_messages(self) -> None:
        self._begun = {}

    @property
    def _entry(self) -> int:
        """Bytes of a struct mmsghdr: a struct msghdr and a number, which stands at ``_entry - self.word``."""
        return 64 if self.bits == 64 else 32

    def _several(
        self, count: int, end: float | None, one: Callable[[int], bool], tell: Callable[[], None]
    ) -> int:
        """Do *one* (its number) after the other, until it says that it was the last. An error is told if it is the first's alone."""
        tid = self.task.tid
        done, _ = self._begun.pop(tid, (0, None))
        try:
            while done < min(count, IOV_MAX):
                last = one(done)
                done += 1
                if last:
                    break
        except Sleep as sleep:
            if done or end is not None:
                self._begun[tid] = done, end

                def broken() -> None:
                    self._begun.pop(tid, None)
                    if done:
                        tell()

                sleep.done, sleep.broken = done, broken
            raise
        except (OSError, TargetFault, ValueError):
            if not done:
                raise
        if done:
            tell()
        return done

    def sys_sendmmsg(self, fd: int, vector: int, count: int, flags: int, *_: int) -> int:
        with self._socket(fd):
            pass  # it is one, if there be no message, too

        def one(number: int) -> bool:
            at = vector + number * self._entry
            self.write32(at + self._entry - self.word, self.sys_sendmsg(fd, at, flags))
            return False

        return self._several(count, None, one, lambda: None)

    def sys_recvmmsg(
        self, fd: int, vector: int, count: int, flags: int, timeout: int, *_: int
    ) -> int:
        return self._recvmmsg(fd, vector, count, flags, timeout, wide=False)

    def sys_recvmmsg_time64(
        self, fd: int, vector: int, count: int, flags: int, timeout: int, *_: int
    ) -> int:
        return self._recvmmsg(fd, vector, count, flags, timeout, wide=True)

    def _recvmmsg(
        self, fd: int, vector: int, count: int, flags: int, timeout: int, *, wide: bool
    ) -> int:
        """The time is looked at when a message has come, and never ends the wait for one (man 2 recvmmsg, Bugs)."""
        end = self._begun.get(self.task.tid, (0, None))[1]
        if timeout and end is None:
            end = time.monotonic() + self.nanoseconds(timeout, wide=wide) / 1e9
        with self._socket(fd):
            pass

        def one(number: int) -> bool:
            at = vector + number * self._entry
            ready = bool(number) and bool(flags & MSG_WAITFORONE)
            own = flags & ~MSG_WAITFORONE | (MSG_DONTWAIT if ready else 0)
            self.write32(at + self._entry - self.word, self.sys_recvmsg(fd, at, own))
            said = self.unpack(self._header, at)[-1]
            return bool(said & MSG_OOB) or (end is not None and time.monotonic() >= end)

        def tell() -> None:
            if end is not None:
                left = max(int((end - time.monotonic()) * 1e9), 0)
                self.put_time(timeout, left, wide=wide)

        return self._several(count, end, one, tell)

"""Descriptors that are no files: memfd, eventfd, timerfd, inotify. They are the host's; a number may have to be turned around."""

from __future__ import annotations

import errno
import os

from rtld.backends.emulated.linux import hostcalls
from rtld.backends.emulated.linux.calls import failed, int32
from rtld.backends.emulated.linux.clocks import Clocks
from rtld.backends.emulated.linux.files import AT_FDCWD, Files
from rtld.backends.emulated.linux.io import O_CLOEXEC, O_NONBLOCK

TFD_CLOEXEC, TFD_NONBLOCK, TFD_FLAGS = 0o2000000, 0o4000, 3
IN_DONT_FOLLOW = 0x02000000


class Special(Files, Clocks):
    """``counters`` and ``notices`` (``io``) say which descriptors they are."""

    # -- memfd, eventfd -----------------------------------------------------------------------------

    def sys_memfd_create(self, name: int, flags: int, *_: int) -> int:
        label = self.string(name, 256)
        return self.add(
            os.memfd_create(os.fsdecode(label), flags & 2 | os.MFD_CLOEXEC), cloexec=bool(flags & 1)
        )

    def sys_eventfd2(self, value: int, flags: int, *_: int) -> int:
        flags = self.host_flags(flags) if self.is_mips else flags
        host = os.eventfd(value & 0xFFFFFFFF, flags & (O_NONBLOCK | 1) | os.EFD_CLOEXEC)
        self.counters.add(host)
        return self.add(host, cloexec=bool(flags & O_CLOEXEC))

    def sys_eventfd(self, value: int, *_: int) -> int:
        return self.sys_eventfd2(value, 0)

    # -- inotify ------------------------------------------------------------------------------------

    def sys_inotify_init1(self, flags: int, *_: int) -> int:
        flags = self.host_flags(flags)
        if flags & ~(O_CLOEXEC | O_NONBLOCK):
            raise failed(errno.EINVAL)
        host = hostcalls.inotify_init(flags & O_NONBLOCK | O_CLOEXEC)
        self.notices.add(host)
        return self.add(host, cloexec=bool(flags & O_CLOEXEC))

    def sys_inotify_init(self, *_: int) -> int:
        return self.sys_inotify_init1(0)

    def sys_inotify_add_watch(self, fd: int, path: int, mask: int, *_: int) -> int:
        """The name is walked here, and the host told of the file itself."""
        host = self._notices(fd)
        with self.at(AT_FDCWD, self.name(path), follow=not mask & IN_DONT_FOLLOW) as place:
            found = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
        try:
            return hostcalls.inotify_add_watch(
                host, f"/proc/self/fd/{found}", mask & 0xFFFFFFFF & ~IN_DONT_FOLLOW
            )
        finally:
            os.close(found)

    def sys_inotify_rm_watch(self, fd: int, watch: int, *_: int) -> int:
        hostcalls.inotify_rm_watch(self._notices(fd), int32(watch))
        return 0

    def _notices(self, fd: int) -> int:
        host = self.host(fd)
        if host not in self.notices:
            raise failed(errno.EINVAL)
        return host

    # -- timerfd ------------------------------------------------------------------------------------

    def sys_timerfd_create(self, clock: int, flags: int, *_: int) -> int:
        flags = self.host_flags(flags)
        if flags & ~(TFD_CLOEXEC | TFD_NONBLOCK) or int32(clock) not in (0, 1, 7):
            raise failed(errno.EINVAL)
        host = hostcalls.timerfd_create(int32(clock), flags & TFD_NONBLOCK | TFD_CLOEXEC)
        self.counters.add(host)
        return self.add(host, cloexec=bool(flags & TFD_CLOEXEC))

    def _set_timerfd(self, fd: int, flags: int, new: int, old: int, *, wide: bool) -> int:
        host = self.host(fd)
        if host not in self.counters or flags & ~TFD_FLAGS:
            raise failed(errno.EINVAL)
        before = hostcalls.timerfd_settime(host, flags, *self.settings(new, wide=wide))
        if old:
            self.put_settings(old, *before, wide=wide)
        return 0

    def sys_timerfd_settime(self, fd: int, flags: int, new: int, old: int, *_: int) -> int:
        return self._set_timerfd(fd, flags, new, old, wide=self.bits == 64)

    def sys_timerfd_settime64(self, fd: int, flags: int, new: int, old: int, *_: int) -> int:
        return self._set_timerfd(fd, flags, new, old, wide=True)

    def _get_timerfd(self, fd: int, result: int, *, wide: bool) -> int:
        host = self.host(fd)
        if host not in self.counters:
            raise failed(errno.EINVAL)
        self.put_settings(result, *hostcalls.timerfd_gettime(host), wide=wide)
        return 0

    def sys_timerfd_gettime(self, fd: int, result: int, *_: int) -> int:
        return self._get_timerfd(fd, result, wide=self.bits == 64)

    def sys_timerfd_gettime64(self, fd: int, result: int, *_: int) -> int:
        return self._get_timerfd(fd, result, wide=True)

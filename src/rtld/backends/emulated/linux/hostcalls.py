"""Calls of the host's kernel that Python 3.11 has no function for (man 2 timerfd_create, inotify)."""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BILLION = 1_000_000_000


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    """OSError for -1."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _spec(interval: int, value: int) -> bytes:
    """struct itimerspec of this computer, of nanoseconds."""
    return struct.pack("4q", *divmod(interval, _BILLION), *divmod(value, _BILLION))


def _times(data: bytes) -> tuple[int, int]:
    words = struct.unpack("4q", data)
    return words[0] * _BILLION + words[1], words[2] * _BILLION + words[3]


def timerfd_create(clock: int, flags: int) -> int:
    """A descriptor."""
    return _checked(_libc().timerfd_create(clock, flags))


def timerfd_settime(fd: int, flags: int, interval: int, value: int) -> tuple[int, int]:
    """(interval, time left) as they were, nanoseconds."""
    old = ctypes.create_string_buffer(32)
    _checked(_libc().timerfd_settime(fd, flags, _spec(interval, value), old))
    return _times(old.raw)


def timerfd_gettime(fd: int) -> tuple[int, int]:
    """(interval, time left), nanoseconds."""
    now = ctypes.create_string_buffer(32)
    _checked(_libc().timerfd_gettime(fd, now))
    return _times(now.raw)


def inotify_init(flags: int) -> int:
    """A descriptor."""
    return _checked(_libc().inotify_init1(flags))


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """A watch's number."""
    return _checked(_libc().inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(mask)))


def inotify_rm_watch(fd: int, watch: int) -> None:
    """Watch it no more."""
    _checked(_libc().inotify_rm_watch(fd, watch))


def punch_hole(fd: int, offset: int, size: int) -> None:
    """Make part of a file zeros that take no room (man 2 fallocate)."""
    keep_and_punch = 0x01 | 0x02
    arguments = (ctypes.c_long(offset), ctypes.c_long(size))
    _checked(_libc().fallocate(fd, keep_and_punch, *arguments))

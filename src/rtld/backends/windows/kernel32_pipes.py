"""KERNEL32.dll: named pipes of this process, whose ends further programs may have as standard streams.

"Named Pipes" (learn.microsoft.com). What is sent are bytes: the messages of PIPE_TYPE_MESSAGE are not kept apart. No pipe of another
process can be opened, and none of ours by another but by inheriting it.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import termios

from rtld.backends.windows import completion
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_files import INVALID, overlapped_teller
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

INBOUND, OUTBOUND, DUPLEX = 1, 2, 3
_FIRST_INSTANCE, _OVERLAPPED = 0x00080000, 0x40000000
_PIECE = 4096  # PIPE_BUF: so much can be written when poll says that something can
_ENDED = (completion.PIPE_BROKEN, 0)


def servers(system: System, name: str) -> list[Handle]:
    """The instances of a pipe of that name that are open."""
    return [h for h in system.handles.values() if h.kind == "pipe" and h.__dict__.get("named") == name.lower() and "other" in h.__dict__]  # fmt: skip


def make(system: System, name: str, access: int, *, overlapped: bool) -> int:
    """A handle of a new instance; its other end waits for somebody who opens it."""
    fd, other = _pair(access & DUPLEX)
    return system.add(Handle("pipe", fd=fd, other=other, named=name.lower(), direction=access & DUPLEX, overlapped=overlapped))  # fmt: skip


def _pair(direction: int) -> tuple[int, int]:
    """(the server's end, the client's)."""
    if direction == DUPLEX:
        ours, theirs = socket.socketpair()
        return ours.detach(), theirs.detach()
    read, write = os.pipe()
    return (read, write) if direction == INBOUND else (write, read)


def take(system: System, found: Handle, *, overlapped: bool = False) -> int:
    """A handle of the other end of an instance that nobody has opened."""
    fd, found.other = found.other, -1
    completion.poll(system)
    return system.add(Handle("pipe", fd=fd, named="", overlapped=overlapped))


def open_end(system: System, name: str, access: int) -> int:
    """CreateFile of a pipe."""
    found = servers(system, name)
    free = next((h for h in found if h.other >= 0), None)
    if free is None:
        return system.fail(231 if found else 2, INVALID)  # ERROR_PIPE_BUSY
    wanted = (1 if access & 0x90000001 else 0) | (2 if access & 0x50000002 else 0)
    if (wanted & 1 and free.direction == INBOUND) or (wanted & 2 and free.direction == OUTBOUND):
        return system.fail(5, INVALID)
    return take(system, free)


@KERNEL32.both("CreateNamedPipe", "tuuuuuup", "p")
def create_named_pipe(system: System, _wide: bool, name: str, access: int, _mode: int, most: int, _out: int, _in: int, _timeout: int, _sa: int) -> int:  # fmt: skip
    name = name or ""
    if not name.lower().startswith("\\\\.\\pipe\\") or not access & DUPLEX or not most:
        return system.fail(123 if access & DUPLEX else 87, INVALID)
    known = servers(system, name)
    if known and access & _FIRST_INSTANCE:
        return system.fail(5, INVALID)
    if known and len(known) >= min(most, 255):
        return system.fail(231, INVALID)
    system.last_error = 0
    return make(system, name, access, overlapped=bool(access & _OVERLAPPED))


def _pipe(system: System, handle: int) -> Handle | None:
    return system.handle(handle, "pipe")


@KERNEL32("ConnectNamedPipe", "pp")
def connect_named_pipe(system: System, handle: int, overlapped: int) -> Any:
    found = _pipe(system, handle)
    if found is None:
        return 0
    if found.__dict__.get("other", -1) < 0:
        return system.fail(535)  # ERROR_PIPE_CONNECTED
    pipe = found

    def attempt() -> tuple[int, int] | None:
        return (completion.SUCCESS, 0) if pipe.other < 0 else None

    if overlapped:
        return _asked(system, found, 0, overlapped, attempt)
    return _wait(system, 0, attempt)


@KERNEL32("DisconnectNamedPipe", "p")
def disconnect_named_pipe(system: System, handle: int) -> int:
    found = _pipe(system, handle)
    if found is None or "other" not in found.__dict__:
        return 0 if found is None else system.fail(87)
    completion.cancel(system, found)
    for fd in (found.fd, found.other):
        if fd >= 0:
            os.close(fd)
    found.fd, found.other = _pair(found.direction)
    return 1


@KERNEL32.both("WaitNamedPipe", "tu")
def wait_named_pipe(system: System, _wide: bool, name: str, _timeout: int) -> int:
    found = servers(system, name or "")
    return int(any(h.other >= 0 for h in found)) or system.fail(121 if found else 2)


@KERNEL32("SetNamedPipeHandleState", "pppp")
def set_named_pipe_handle_state(system: System, handle: int, *_: int) -> int:
    return int(_pipe(system, handle) is not None)


@KERNEL32.both("GetNamedPipeHandleState", "ppppppu")
def get_named_pipe_handle_state(system: System, _wide: bool, handle: int, state: int, instances: int, *_: int) -> int:  # fmt: skip
    if _pipe(system, handle) is None:
        return 0
    for place, value in ((state, 0), (instances, 1)):
        if place:
            system.put(place, value, 4)
    return 1


@KERNEL32("GetNamedPipeInfo", "ppppp")
def get_named_pipe_info(system: System, handle: int, flags: int, out: int, into: int, most: int) -> int:  # fmt: skip
    found = _pipe(system, handle)
    if found is None:
        return 0
    for place, value in ((flags, int("other" in found.__dict__)), (out, 4096), (into, 4096), (most, 255)):  # fmt: skip
        if place:
            system.put(place, value, 4)
    return 1


@KERNEL32("GetNamedPipeClientProcessId GetNamedPipeServerProcessId", "pp")
def get_named_pipe_client_process_id(system: System, handle: int, out: int) -> int:
    if _pipe(system, handle) is None:
        return 0
    system.put(out, system.process_id, 4)
    return 1


# -- reading and writing --------------------------------------------------------------------------


def _events(fd: int, wanted: int) -> int:
    poll = select.poll()
    poll.register(fd, wanted)
    found = poll.poll(0)
    return found[0][1] if found else 0


def _waiting(fd: int) -> int:
    """Bytes that can be read now."""
    size = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, size)
    return size[0]


def reading(system: System, found: Handle, out: int, size: int) -> Callable[[], tuple[int, int] | None]:  # fmt: skip
    """An attempt to read what is there."""

    def attempt() -> tuple[int, int] | None:
        if found.__dict__.get("other", -1) >= 0:
            return 0xC00000B3, 0  # STATUS_PIPE_LISTENING
        events = _events(found.fd, select.POLLIN)
        if not events:
            return None
        try:
            if not size:
                ended = events & select.POLLHUP and not _waiting(found.fd)
                return _ENDED if ended else (completion.SUCCESS, 0)
            data = os.read(found.fd, min(size, 1 << 16))
        except OSError:
            return _ENDED
        system.memory.write(out, data)
        return (completion.SUCCESS, len(data)) if data else _ENDED

    return attempt


def writing(system: System, found: Handle, source: int, size: int) -> Callable[[], tuple[int, int] | None]:  # fmt: skip
    """An attempt to write all, as much as there is room for at a time."""
    done = 0

    def attempt() -> tuple[int, int] | None:
        nonlocal done
        while done < size:
            if not _events(found.fd, select.POLLOUT):
                return None
            try:
                done += os.write(found.fd, system.memory.read(source + done, min(size - done, _PIECE)))  # fmt: skip
            except OSError:
                return 0xC00000B1, done  # STATUS_PIPE_CLOSING
        return completion.SUCCESS, done

    return attempt


def error_of(status: int) -> int:
    """The error of Win32 for how a request has ended."""
    return {0xC00000B3: 536}.get(status, completion.ERRORS.get(status, 31))


def _asked(system: System, found: Handle, done: int, overlapped: int, attempt: Callable[[], tuple[int, int] | None]) -> int:  # fmt: skip
    status, count = completion.begin(system, found, overlapped_teller(system, overlapped), attempt)
    if done:
        system.put(done, count, 4)
    return system.fail(error_of(status)) if status else 1


def _wait(system: System, done: int, attempt: Callable[[], tuple[int, int] | None]) -> Task:
    status, count = yield from completion.wait(system, attempt)
    if done:
        system.put(done, count, 4)
    return system.fail(error_of(status)) if status else 1


def read(system: System, found: Handle, out: int, size: int, done: int, overlapped: int) -> Any:
    """ReadFile."""
    attempt = reading(system, found, out, size)
    return _asked(system, found, done, overlapped, attempt) if overlapped else _wait(system, done, attempt)  # fmt: skip


def write(system: System, found: Handle, source: int, size: int, done: int, overlapped: int) -> Any:
    """WriteFile."""
    attempt = writing(system, found, source, size)
    return _asked(system, found, done, overlapped, attempt) if overlapped else _wait(system, done, attempt)  # fmt: skip

"""Start a program in a child without forking Python: posix_spawn(3), and a trampoline for tracing.

``posix_spawn`` shares memory with the child until it executes, so it costs the same however large
this process is; but nothing of ours runs in the child.  A child that is to be traced from its first
instruction therefore starts as a tiny anchor that asks for it (PTRACE_TRACEME) and executes the
program itself.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal

from rtld.backends.child.anchor import STATE_ARGV, STATE_ENVP, Anchor
from rtld.backends.child.calls import ADD, RECORD, signed_result
from rtld.backends.child.ptrace import (
    PTRACE_CONT,
    PTRACE_O_EXITKILL,
    SIGNAL,
    WALL,
    Tracee,
    decode,
    request,
)
from rtld.errors import TargetFault, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Text = str | bytes
    Environment = Mapping[str, str] | Mapping[bytes, bytes]

ADDR_NO_RANDOMIZE = 0x0040000  # <sys/personality.h>
# What the kernel sends to a process that it cannot give a memory image.
_FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)
_FIRST_FD = 900  # our descriptors in the child start here: programs count from 3

_libc = ctypes.CDLL(None, use_errno=True)


def memory_file(name: str, content: bytes | memoryview) -> int:
    """A descriptor (close-on-exec) of an executable file without a path (memfd_create(2))."""
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | 0x10)  # MFD_EXEC, since Linux 6.3
    except OSError as error:
        if error.errno != errno.EINVAL:
            return nameless_file(content)  # sysctl vm.memfd_noexec = 2
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    _write_all(fd, content)
    return fd


def nameless_file(content: bytes | memoryview) -> int:
    """The same on disk (O_TMPFILE); read-only, for what somebody may write is not executed (ETXTBSY)."""
    last = None
    for directory in (os.environ.get("TMPDIR", "/tmp"), "/dev/shm", "/var/tmp"):  # noqa: S108  it never has a name there
        try:
            if os.statvfs(directory).f_flag & os.ST_NOEXEC:
                continue
            fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o700)
        except OSError as error:
            last = error
            continue
        try:
            _write_all(fd, content)
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(fd)
    raise Unsupported(
        "memfd_create(2) is forbidden here, and no directory takes an executable file without a name",
        "set TMPDIR to a directory that does",
    ) from last


def _write_all(fd: int, content: bytes | memoryview) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def high(fd: int) -> int:
    """A duplicate (close-on-exec) of *fd* with a number that programs do not expect to be free."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
    except OSError:  # EINVAL: above RLIMIT_NOFILE
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def fd_path(fd: int, length: int = 0) -> str:
    """A path that opens *fd* of the process itself, padded to at least *length* bytes.

    The kernel puts it on the new program's stack (AT_EXECFN); padding leaves room for the real one.
    """
    head, tail = "/proc/self", f"/fd/{fd}"
    pad = max(0, min(length, 4095) - len(head) - len(tail))
    return head + "/." * (pad // 2) + "/" * (pad % 2) + tail


def spawn(
    path: Text,
    argv: Sequence[Text],
    env: Environment,
    *,
    fds: Iterable[int] = (),
    sigmask: Iterable[int] | None = None,
    no_randomize: bool = False,
) -> int:
    """Start *path*; returns its pid.  *fds* are inherited under their own numbers.

    Signals that Python ignores (SIGPIPE, SIGXFSZ) are back at their defaults; *sigmask* is what the
    child blocks (None: what this thread does).  The terminal, the process group and the limits are ours.
    """
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]  # onto itself: no longer close-on-exec
    old = _libc.personality(0xFFFFFFFF)
    if no_randomize:
        _libc.personality(old | ADDR_NO_RANDOMIZE)
    try:
        return os.posix_spawn(
            path,
            list(argv),
            env,
            file_actions=actions,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            **({} if sigmask is None else {"setsigmask": sigmask}),  # type: ignore[arg-type]
        )
    finally:
        if no_randomize:
            _libc.personality(old)


def spawn_traced(
    path: Text,
    argv: Sequence[Text],
    env: Environment,
    *,
    fds: Iterable[int] = (),
    sigmask: Iterable[int] | None = None,
    no_randomize: bool = False,
    options: int = PTRACE_O_EXITKILL,
) -> Tracee:
    """Start *path* traced by this thread, stopped before its first instruction.

    The stop is that of ``execve``: of a dynamic program, at the start of its interpreter.  OSError if
    it cannot be executed, Unsupported where tracing is forbidden.
    """
    raw = os.fsencode(path)
    anchor = Anchor(64, records=16, data=len(raw) + 256)
    calls = anchor.calls
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    status = high(write_end)
    os.close(write_end)
    try:
        failing = calls.failing(status)
        calls.call("ptrace", 0, failure=failing)
        calls.forget_posix_spawn()
        calls.call("fcntl", status, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        execute = len(calls) + 2
        calls.add(ADD, calls.field(execute, 1), anchor.state(STATE_ARGV))
        calls.add(ADD, calls.field(execute, 2), anchor.state(STATE_ENVP))
        calls.call("execve", calls.data(raw + b"\0"), 0, 0, failure=failing)
        fd = memory_file("anchor", anchor.image())
        try:
            pid = spawn(
                fd_path(fd), argv, env,
                fds=[*fds, status], sigmask=sigmask, no_randomize=no_randomize,
            )  # fmt: skip
        finally:
            os.close(fd)
    finally:
        os.close(status)
    return adopt(pid, read_end, options)


def adopt(pid: int, status_fd: int, options: int) -> Tracee:
    """The Tracee for a child that asks to be traced and stops; reads its complaint if it does not."""
    try:
        _, status = os.waitpid(pid, WALL)
        stop = decode(pid, status)
        while stop.kind == SIGNAL and stop.value != signal.SIGTRAP:
            if stop.value not in _FATAL:
                os.kill(pid, stop.value)  # it came first: it will come again
            request(PTRACE_CONT, pid, 0, stop.value if stop.value in _FATAL else 0)
            stop = decode(*os.waitpid(pid, WALL))
        if stop.kind == SIGNAL:
            tracee = Tracee(pid)
            tracee.set_options(options)
            return tracee
        record = os.read(status_fd, RECORD)
        if len(record) < RECORD:
            raise TargetFault(f"the process {pid} ended at its start ({stop.kind} {stop.value})")
        number, result = signed_result(record, 64)
        if number == 101:
            raise Unsupported(f"tracing is forbidden here: {os.strerror(-result)}")
        raise OSError(-result, os.strerror(-result))
    finally:
        os.close(status_fd)

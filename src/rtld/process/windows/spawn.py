"""Programs that a Windows program starts: each in a process of ours, with the same confines and options.

The process is forked: what is imported stays so, and the new program begins in tens of milliseconds. Its exit code comes
through a pipe, as a wait status has only 8 bits for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from rtld.backends.windows.system import Handle
from rtld.errors import FormatError, RtldError
from rtld.pe.file import PeFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_CRASHED = 0xC0000005


def is_program(path: str) -> bool | None:
    """Whether a file is a program that can be run; None when there is no such file."""
    if not os.path.isfile(path):
        return None
    try:
        file = PeFile(path)
    except (FormatError, OSError):
        return False
    return not file.is_dll and file.arch in ("x86_64", "i386", "aarch64")


def spawn(run: Callable[[], int], streams: Sequence[int], inherited: Sequence[int]) -> Handle:
    """Fork a process whose exit code is the result of ``run``.

    streams: descriptors that become 0, 1 and 2 (-1: none); inherited: the parent's that it must not keep.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return Handle("process", pid=pid, code=None, status=read, twin=None)
    code = _CRASHED
    try:
        os.close(read)
        kept = [os.dup(fd) if fd >= 0 else os.open(os.devnull, os.O_RDWR) for fd in streams]
        for fd in inherited:
            with contextlib.suppress(OSError):
                os.close(fd)
        for number, fd in enumerate(kept):
            os.dup2(fd, number)
            os.close(fd)
        code = run()
        sys.stdout.flush()
    except RtldError as error:
        code = getattr(error, "status", code)
        sys.stderr.write(f"rtld: {error}\n")
    except BaseException as error:
        sys.stderr.write(f"rtld: {type(error).__name__}: {error}\n")
    finally:
        with contextlib.suppress(OSError):
            os.write(write, (code & 0xFFFFFFFF).to_bytes(4, "little"))
        os._exit(code & 0xFF)


def ended(process: Any) -> bool:
    """Whether it has ended; then ``code`` is its exit code."""
    if getattr(process, "twin", None) is not None:  # the handle of its first thread
        done = ended(process.twin)
        process.code = process.twin.code
        return done
    if process.code is not None:
        return True
    pid, status = os.waitpid(process.pid, os.WNOHANG)
    if not pid:
        return False
    data = os.read(process.status, 4)
    os.close(process.status)
    process.code = int.from_bytes(data, "little") if len(data) == 4 else _of_status(status)
    return True


def _of_status(status: int) -> int:
    """It could not say: a signal has ended it."""
    return os.waitstatus_to_exitcode(status) & 0xFF if os.WIFEXITED(status) else _CRASHED


def terminate(process: Any, code: int) -> None:
    """End it with that code."""
    process = getattr(process, "twin", None) or process
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)
    os.close(process.status)
    process.code = code

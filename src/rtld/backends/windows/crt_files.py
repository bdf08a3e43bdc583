"""Streams and files of the C run-time, for msvcrt.dll and ucrtbase.dll alike; and dates."""

from __future__ import annotations

import os
import struct
import time

from rtld.backends.windows import msvcrt
from rtld.backends.windows.api import Api
from rtld.backends.windows.crt import UCRT
from rtld.backends.windows.msvcrt import FILE_SIZE, MSVCRT, errno, flush, stream, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import System


class Both:
    """Declares a function in both tables."""

    def __call__(
        self, names: str, arguments: str = "", result: str = "u"
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def declare(action: Callable[..., Any]) -> Callable[..., Any]:
            for name in names.split():
                for table in (MSVCRT, UCRT):
                    table.functions[name] = Api(table.name, name, arguments, result, "cdecl", action)  # fmt: skip
            return action

        return declare


CRT = Both()


def _failed(system: System, error: OSError, result: int) -> int:
    system.put(int(errno(system)), error.errno or 0, 4)
    return result


def _state(system: System, file: int) -> dict[str, Any]:
    """What is known of a stream: its buffer for reading, end and error marks."""
    state: dict[str, Any] = system.cache.setdefault(f"state {file}", {"ahead": b"", "end": False})
    return state


@CRT("fopen", "ss", "p")
@CRT("_wfopen", "ww", "p")
def fopen(system: System, name: Any, mode: Any) -> int:
    text = name if isinstance(name, str) else name.decode("latin-1")
    how = mode if isinstance(mode, str) else mode.decode("latin-1")
    path = system.path(text)
    flags = {"r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND}.get(how[:1])  # fmt: skip
    if path is None or flags is None:
        return _failed(system, OSError(13 if path is None else 22, ""), 0)
    if "+" in how:
        flags = flags & ~3 | os.O_RDWR
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
    except OSError as error:
        return _failed(system, error, 0)
    file = system.heap.allocate(FILE_SIZE[system.bits])
    system.cache[f"file {file}"] = fd
    system.cache.pop(f"binary {fd}", None)
    if "b" not in how:
        system.cache[f"text {file}"] = True
    else:
        system.cache[f"binary {fd}"] = True
    return file


@CRT("fclose", "p", "i")
def fclose(system: System, file: int) -> int:
    fd = system.cache.pop(f"file {file}", None)
    if fd is None:
        return 0 if stream(system, file) >= 0 else -1
    flush(system, fd)
    os.close(fd)
    system.cache.pop(f"binary {fd}", None)
    system.cache.pop(f"text {file}", None)
    system.cache.pop(f"state {file}", None)
    system.heap.free(file)
    return 0


def read(system: System, file: int, size: int, *, line: bool = False) -> bytes:
    """Up to ``size`` bytes of a stream, or a line of it."""
    fd, state = stream(system, file), _state(system, file)
    text = fd < 3 or f"text {file}" in system.cache
    data: bytes = state["ahead"]
    while len(data) < size and not (line and b"\n" in data):
        try:
            piece = os.read(fd, max(4096, size - len(data)))
        except OSError:
            break
        if not piece:
            state["end"] = len(data) < size
            break
        data += piece.replace(b"\r\n", b"\n") if text else piece
    end = min(size, data.index(b"\n") + 1 if line and b"\n" in data else size)
    state["ahead"] = data[end:]
    return data[:end]


@CRT("fread", "pppp", "p")
def fread(system: System, out: int, size: int, count: int, file: int) -> int:
    data = read(system, file, size * count)
    if data:
        system.memory.write(out, data)
    return len(data) // size if size else 0


@CRT("fgets", "pip", "p")
def fgets(system: System, out: int, room: int, file: int) -> int:
    data = read(system, file, max(room - 1, 0), line=True)
    if not data:
        return 0
    system.memory.write(out, data + b"\0")
    return out


@CRT("fgetc getc", "p", "i")
def fgetc(system: System, file: int) -> int:
    data = read(system, file, 1)
    return data[0] if data else -1


@CRT("getchar", "", "i")
def getchar(system: System) -> int:
    return int(fgetc(system, variable(system, "_iob")))


@CRT("ungetc", "ip", "i")
def ungetc(system: System, code: int, file: int) -> int:
    state = _state(system, file)
    state["ahead"] = bytes([code & 255]) + state["ahead"]
    state["end"] = False
    return code


@CRT("feof", "p", "i")
def feof(system: System, file: int) -> int:
    return int(_state(system, file)["end"])


@CRT("ferror", "p", "i")
def ferror(_system: System, _file: int) -> int:
    return 0


@CRT("clearerr", "p", "v")
def clearerr(system: System, file: int) -> None:
    _state(system, file)["end"] = False


@CRT("fseek", "pii", "i")
@CRT("_fseeki64", "pqi", "i")
def fseek(system: System, file: int, offset: int, whence: int) -> int:
    fd, state = stream(system, file), _state(system, file)
    flush(system, fd)
    offset -= (offset >> 63 & 1) << 64
    if whence == 1:
        offset -= len(state["ahead"])
    state["ahead"], state["end"] = b"", False
    try:
        os.lseek(fd, offset, whence)
    except OSError as error:
        return _failed(system, error, -1)
    return 0


@CRT("ftell", "p", "i")
@CRT("_ftelli64", "p", "q")
def ftell(system: System, file: int) -> int:
    fd = stream(system, file)
    flush(system, fd)
    try:
        return os.lseek(fd, 0, os.SEEK_CUR) - len(_state(system, file)["ahead"])
    except OSError as error:
        return _failed(system, error, -1)


@CRT("rewind", "p", "v")
def rewind(system: System, file: int) -> None:
    fseek(system, file, 0, 0)


@CRT("remove _unlink", "s", "i")
def remove(system: System, name: bytes) -> int:
    path = system.path(name.decode("latin-1"))
    try:
        os.unlink(path or "")
    except OSError as error:
        return _failed(system, error, -1)
    return 0


# -- dates ----------------------------------------------------------------------------------------


def _broken_down(system: System, out: int, seconds: int) -> int:
    """struct tm of a time; the time zone is UTC, so that programs say the same everywhere."""
    t = time.gmtime(seconds)
    fields = (t.tm_sec, t.tm_min, t.tm_hour, t.tm_mday, t.tm_mon - 1, t.tm_year - 1900, (t.tm_wday + 1) % 7, t.tm_yday - 1, 0)  # fmt: skip
    system.memory.write(out, struct.pack("<9i", *fields))
    return 0


@CRT("_localtime64_s _gmtime64_s", "pp", "i")
def gmtime_s(system: System, out: int, when: int) -> int:
    return _broken_down(system, out, system.number(when, 8))


@CRT("_localtime64 _gmtime64", "p", "p")
def gmtime64(system: System, when: int) -> int:
    at = system.cache.setdefault("tm", 0) or system.heap.allocate(36)
    system.cache["tm"] = at
    _broken_down(system, at, system.number(when, 8))
    return int(at)


@CRT("localtime gmtime _localtime32 _gmtime32", "p", "p")
def gmtime(system: System, when: int) -> int:
    at = system.cache.setdefault("tm", 0) or system.heap.allocate(36)
    system.cache["tm"] = at
    _broken_down(system, at, system.number(when, 4))
    return int(at)


@CRT("_msize", "p", "p")
def msize(system: System, address: int) -> int:
    return int(system.heap.sizes.get(address, 0))


@CRT("strcpy_s", "pps", "i")
def strcpy_s(system: System, out: int, room: int, text: bytes) -> int:
    if text is None or len(text) + 1 > room:
        return 34
    system.memory.write(out, text + b"\0")
    return 0


@CRT("strcat_s", "pps", "i")
def strcat_s(system: System, out: int, room: int, text: bytes) -> int:
    have = len(system.text(out) or b"")
    return int(strcpy_s(system, out + have, room - have, text))


@CRT("strncpy_s", "ppsp", "i")
def strncpy_s(system: System, out: int, room: int, text: bytes, size: int) -> int:
    return int(strcpy_s(system, out, room, text[:size]))


@CRT("strerror_s", "ppi", "i")
def strerror_s(system: System, out: int, room: int, number: int) -> int:
    return int(strcpy_s(system, out, room, os.strerror(number).encode()))


@CRT("_read", "ipu", "i")
def read_descriptor(system: System, fd: int, out: int, size: int) -> int:
    try:
        data = os.read(fd, size)
        if f"binary {fd}" not in system.cache:
            if data.endswith(b"\r"):
                data += os.read(fd, 1)
            data = data.replace(b"\r\n", b"\n")
    except OSError as error:
        return _failed(system, error, -1)
    system.memory.write(out, data[:size])
    return len(data[:size])


@CRT("_lseek", "iii", "i")
@CRT("_lseeki64", "iqi", "q")
def lseek(system: System, fd: int, offset: int, whence: int) -> int:
    flush(system, fd)
    try:
        return os.lseek(fd, offset - ((offset >> 63 & 1) << 64), whence)
    except OSError as error:
        return _failed(system, error, -1)


# What msvcrt.py has is the same in both: declared there before this table was made.
UCRT.functions.update(
    {n: a._replace(dll=UCRT.name) for n, a in msvcrt.MSVCRT.functions.items() if n not in UCRT.functions}
)  # fmt: skip

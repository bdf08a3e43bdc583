"""msvcrt.dll: printf and what else writes to a stream."""

from __future__ import annotations

import os

from rtld.backends.windows.api import VarArgs
from rtld.backends.windows.formats import format_text
from rtld.backends.windows.kernel32_files import write_all
from rtld.backends.windows.msvcrt import FILE_SIZE, MSVCRT, flush, flush_all, stream, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

# -- streams --------------------------------------------------------------------------------------


def put(system: System, file: int, data: bytes) -> int:
    """Write to a stream; in text mode a line feed becomes CR LF."""
    fd = stream(system, file)
    if fd < 0:
        return -1
    if fd < 3 or f"text {file}" in system.cache:
        data = data.replace(b"\n", b"\r\n") if f"binary {fd}" not in system.cache else data
    buffers: dict[int, bytearray] = system.cache.setdefault("buffers", {})
    buffer = buffers.setdefault(fd, bytearray())
    buffer += data
    if fd == 2 or len(buffer) > 1 << 16:
        flush(system, fd)
    return len(data)


@MSVCRT("__iob_func", "", "p")
def iob_func(system: System) -> int:
    return variable(system, "_iob")


@MSVCRT("fwrite", "pppp", "p")
def fwrite(system: System, data: int, size: int, count: int, file: int) -> int:
    total = size * count
    return count if not total or put(system, file, system.memory.read(data, total)) >= 0 else 0


@MSVCRT("fputs", "sp", "i")
def fputs(system: System, text: bytes, file: int) -> int:
    return 0 if put(system, file, text) >= 0 else -1


@MSVCRT("puts", "s", "i")
def puts(system: System, text: bytes) -> int:
    put(system, variable(system, "_iob") + FILE_SIZE[system.bits], text + b"\n")
    return 0


@MSVCRT("fputc putc", "ip", "i")
def fputc(system: System, code: int, file: int) -> int:
    return code & 255 if put(system, file, bytes([code & 255])) >= 0 else -1


@MSVCRT("putchar", "i", "i")
def putchar(system: System, code: int) -> int:
    return fputc(system, code, variable(system, "_iob") + FILE_SIZE[system.bits])  # type: ignore[no-any-return]


@MSVCRT("printf", "s.", "i")
def printf(system: System, form: bytes, values: VarArgs) -> int:
    return put_format(system, variable(system, "_iob") + FILE_SIZE[system.bits], form, values)


def put_format(system: System, file: int, form: bytes, values: VarArgs) -> int:
    text = format_text(system, form, values)
    return len(text) if put(system, file, text) >= 0 else -1


@MSVCRT("fprintf", "ps.", "i")
def fprintf(system: System, file: int, form: bytes, values: VarArgs) -> int:
    return put_format(system, file, form, values)


@MSVCRT("vfprintf", "psp", "i")
def vfprintf(system: System, file: int, form: bytes, values: int) -> int:
    return put_format(system, file, form, VarArgs(system.memory, values, system.word))


@MSVCRT("vprintf", "sp", "i")
def vprintf(system: System, form: bytes, values: int) -> int:
    return printf(system, form, VarArgs(system.memory, values, system.word))  # type: ignore[no-any-return]


@MSVCRT("sprintf", "ps.", "i")
def sprintf(system: System, out: int, form: bytes, values: VarArgs) -> int:
    text = format_text(system, form, values)
    system.memory.write(out, text + b"\0")
    return len(text)


@MSVCRT("vsprintf", "psp", "i")
def vsprintf(system: System, out: int, form: bytes, values: int) -> int:
    return sprintf(system, out, form, VarArgs(system.memory, values, system.word))  # type: ignore[no-any-return]


def _bounded(system: System, out: int, room: int, text: bytes) -> int:
    """_snprintf: no zero where there is no room for it, and -1 when it does not fit."""
    system.memory.write(out, (text + b"\0")[:room]) if room else None
    return len(text) if len(text) <= room else -1


@MSVCRT("_snprintf", "pps.", "i")
def snprintf(system: System, out: int, room: int, form: bytes, values: VarArgs) -> int:
    return _bounded(system, out, room, format_text(system, form, values))


@MSVCRT("_vsnprintf", "ppsp", "i")
def vsnprintf(system: System, out: int, room: int, form: bytes, values: int) -> int:
    text = format_text(system, form, VarArgs(system.memory, values, system.word))
    return _bounded(system, out, room, text)


@MSVCRT("fflush", "p", "i")
def fflush(system: System, _file: int) -> int:
    flush_all(system)
    return 0


@MSVCRT("setvbuf", "ppip", "i")
def setvbuf(_system: System, *_: int) -> int:
    return 0


@MSVCRT("setbuf", "pp", "v")
def setbuf(_system: System, *_: int) -> None:
    return


@MSVCRT("_fileno fileno", "p", "i")
def fileno(system: System, file: int) -> int:
    return stream(system, file)


@MSVCRT("_isatty isatty", "i", "i")
def isatty(_system: System, fd: int) -> int:
    return int(os.isatty(fd)) if 0 <= fd < 3 else 0


@MSVCRT("_setmode", "ii", "i")
def setmode(system: System, fd: int, mode: int) -> int:
    was = 0x8000 if f"binary {fd}" in system.cache else 0x4000
    if mode == 0x8000:
        system.cache[f"binary {fd}"] = True
    else:
        system.cache.pop(f"binary {fd}", None)
    return was


@MSVCRT("_write", "ipu", "i")
def write(system: System, fd: int, data: int, size: int) -> int:
    flush_all(system)
    content = system.memory.read(data, size)
    if f"binary {fd}" not in system.cache:
        content = content.replace(b"\n", b"\r\n")
    write_all(fd, content)
    return size

"""msvcrt.dll: streams, opened, read and written."""

from __future__ import annotations

import os

from rtld.backends.windows.crt_streams import (
    END,
    ERROR,
    Descriptor,
    Stream,
    add_descriptor,
    close_descriptor,
    descriptors,
    flush_all,
    iob,
    open_stream,
    standard,
    stream,
    streams,
)
from rtld.backends.windows.msvcrt import MSVCRT, failed
from rtld.backends.windows.paths import device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

# -- opening and closing --------------------------------------------------------------------------


def _mode(mode: str) -> tuple[int, bool] | None:
    """(flags of open, text mode) of fopen's mode; None when it is none."""
    flags = {"r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND}.get(mode[:1])  # fmt: skip
    if flags is None:
        return None
    if "+" in mode:
        flags = flags & ~os.O_ACCMODE | os.O_RDWR
    return flags, "b" not in mode


def open_path(system: System, name: str, flags: int, *, text: bool) -> int:
    """A new descriptor. OSError."""
    if device(name) == "nul":
        return add_descriptor(system, Descriptor(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), text=False))  # fmt: skip
    path = system.path(name)
    if path is None or os.path.isdir(path):
        raise OSError(13, "")
    if flags & os.O_ACCMODE and os.path.exists(path) and not os.stat(path).st_mode & 0o222:
        raise OSError(13, "")
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    if flags & os.O_APPEND:
        os.lseek(fd, 0, os.SEEK_END)
    return add_descriptor(system, Descriptor(fd, text=text, append=bool(flags & os.O_APPEND), path=path))  # fmt: skip


def _name(text: Any) -> str:
    return text if isinstance(text, str) else (text or b"").decode("latin-1")


def _open(system: System, name: Any, mode: Any) -> int:
    wanted = _mode(_name(mode))
    if wanted is None or not name:
        return failed(system, 22, 0)
    try:
        number = open_path(system, _name(name), wanted[0], text=wanted[1])
    except OSError as error:
        return failed(system, error.errno or 0, 0)
    return open_stream(system, number).address


@MSVCRT("fopen", "ss", "p")
@MSVCRT("_wfopen", "ww", "p")
def fopen(system: System, name: Any, mode: Any) -> int:
    return _open(system, name, mode)


@MSVCRT("_fsopen", "ssi", "p")
@MSVCRT("_wfsopen", "wwi", "p")
def fsopen(system: System, name: Any, mode: Any, _share: int) -> int:
    return _open(system, name, mode)


@MSVCRT("fopen_s", "pss", "i")
@MSVCRT("_wfopen_s", "pww", "i")
def fopen_s(system: System, out: int, name: Any, mode: Any) -> int:
    file = _open(system, name, mode)
    system.put(out, file)
    return 0 if file else int(system.number(int(MSVCRT.functions["_errno"].action(system)), 4))


@MSVCRT("freopen", "ssp", "p")
def freopen(system: System, name: bytes, mode: bytes, file: int) -> int:
    old = stream(system, file)
    wanted = _mode(_name(mode))
    if old is None or wanted is None:
        return failed(system, 22, 0)
    old.flush()
    try:
        number = open_path(system, _name(name), wanted[0], text=wanted[1])
    except OSError as error:
        return failed(system, error.errno or 0, 0)
    close_descriptor(system, old.number)
    table = descriptors(system)
    table[old.number] = table.pop(number)  # the descriptor keeps its number
    streams(system)[file] = Stream(system, file, old.number)
    streams(system)[file].unbuffered = False
    return file


@MSVCRT("_fdopen fdopen", "is", "p")
@MSVCRT("_wfdopen", "iw", "p")
def fdopen(system: System, number: int, mode: Any) -> int:
    if number not in descriptors(system):
        return failed(system, 9, 0)
    if "b" in _name(mode):
        descriptors(system)[number].text = False
    return open_stream(system, number).address


@MSVCRT("fclose", "p", "i")
def fclose(system: System, file: int) -> int:
    found = stream(system, file)
    if found is None:
        return -1
    done = found.flush()
    del streams(system)[file]
    done = close_descriptor(system, found.number) and done
    if found.path:
        os.unlink(found.path)
    if not iob(system) <= file < iob(system) + 256:
        system.heap.free(file)
    return 0 if done else -1


@MSVCRT("_fcloseall", "", "i")
def fcloseall(system: System) -> int:
    waiting = [f for f, s in streams(system).items() if s.number > 2]
    return sum(fclose(system, file) == 0 for file in waiting)


@MSVCRT("tmpfile", "", "p")
def tmpfile(system: System) -> int:
    import tempfile

    fd, path = tempfile.mkstemp(dir=system.root)
    number = add_descriptor(system, Descriptor(fd, text=False, path=path))
    found = open_stream(system, number)
    found.path = path
    return found.address


@MSVCRT("_wrmtmp _rmtmp", "", "i")
def rmtmp(system: System) -> int:
    return sum(fclose(system, f) == 0 for f in [f for f, s in streams(system).items() if s.path])


# -- writing --------------------------------------------------------------------------------------


def put(system: System, file: int, data: bytes) -> int:
    """So many bytes, -1 when they cannot be written."""
    found = stream(system, file)
    return len(data) if found is not None and found.write(data) else -1


@MSVCRT("__iob_func", "", "p")
def iob_func(system: System) -> int:
    return iob(system)


@MSVCRT("fwrite _fwrite_nolock", "pppp", "p")
def fwrite(system: System, data: int, size: int, count: int, file: int) -> int:
    total = size * count
    return count if not total or put(system, file, system.memory.read(data, total)) >= 0 else 0


@MSVCRT("fputs", "sp", "i")
def fputs(system: System, text: bytes, file: int) -> int:
    return 0 if put(system, file, text) >= 0 else -1


@MSVCRT("fputws", "wp", "i")
def fputws(system: System, text: str, file: int) -> int:
    return 0 if put(system, file, text.encode("latin-1", "replace")) >= 0 else -1


@MSVCRT("puts", "s", "i")
def puts(system: System, text: bytes) -> int:
    return 0 if standard(system, 1).write(text + b"\n") else -1


@MSVCRT("_putws", "w", "i")
def putws(system: System, text: str) -> int:
    return puts(system, text.encode("latin-1", "replace"))  # type: ignore[no-any-return]


@MSVCRT("fputc putc", "ip", "i")
def fputc(system: System, code: int, file: int) -> int:
    return code & 255 if put(system, file, bytes([code & 255])) >= 0 else -1


@MSVCRT("_flsbuf", "ip", "i")
def flsbuf(system: System, code: int, file: int) -> int:
    """What the macro putc calls when there is no room in the buffer: there never is."""
    system.put(file + system.word, 0, 4)
    return fputc(system, code, file)  # type: ignore[no-any-return]


@MSVCRT("fputwc putwc", "ip", "i")
def fputwc(system: System, code: int, file: int) -> int:
    data = chr(code & 0xFFFF).encode("latin-1", "replace")
    return code & 0xFFFF if put(system, file, data) >= 0 else 0xFFFF


@MSVCRT("putchar _fputchar", "i", "i")
def putchar(system: System, code: int) -> int:
    return code & 255 if standard(system, 1).write(bytes([code & 255])) else -1


@MSVCRT("perror", "s", "v")
def perror(system: System, text: bytes) -> None:
    from rtld.backends.windows.msvcrt_strings import error_text

    number = system.number(int(MSVCRT.functions["_errno"].action(system)), 4)
    head = text + b": " if text else b""
    standard(system, 2).write(head + error_text(number) + b"\n")


@MSVCRT("fflush _fflush_nolock", "p", "i")
def fflush(system: System, file: int) -> int:
    if not file:
        flush_all(system)
        return 0
    found = stream(system, file)
    return 0 if found is not None and found.flush() else -1


@MSVCRT("_flushall", "", "i")
def flushall(system: System) -> int:
    flush_all(system)
    return len(streams(system))


@MSVCRT("setvbuf", "ppip", "i")
def setvbuf(system: System, file: int, _buffer: int, mode: int, _size: int) -> int:
    found = stream(system, file)
    if found is None or mode not in (0, 0x40, 4):
        return -1
    found.unbuffered = mode == 4  # _IONBF; lines are buffered as blocks are
    return 0 if found.flush() else -1


@MSVCRT("setbuf", "pp", "v")
def setbuf(system: System, file: int, buffer: int) -> None:
    setvbuf(system, file, buffer, 0 if buffer else 4, 512)


# -- reading --------------------------------------------------------------------------------------


def _read(system: System, file: int, size: int, *, line: bool = False) -> bytes:
    found = stream(system, file)
    return found.read(size, line=line) if found is not None else b""


@MSVCRT("fread _fread_nolock", "pppp", "p")
def fread(system: System, out: int, size: int, count: int, file: int) -> int:
    data = _read(system, file, size * count)
    if data:
        system.memory.write(out, data)
    return len(data) // size if size else 0


@MSVCRT("fgets", "pip", "p")
def fgets(system: System, out: int, room: int, file: int) -> int:
    data = _read(system, file, max(room - 1, 0), line=True)
    if not data:
        return 0
    system.memory.write(out, data + b"\0")
    return out


@MSVCRT("fgetws", "pip", "p")
def fgetws(system: System, out: int, room: int, file: int) -> int:
    data = _read(system, file, max(room - 1, 0), line=True)
    if not data:
        return 0
    system.memory.write(out, data.decode("latin-1").encode("utf-16-le") + b"\0\0")
    return out


@MSVCRT("gets", "p", "p")
def gets(system: System, out: int) -> int:
    data = standard(system, 0).read(1 << 20, line=True)
    if not data:
        return 0
    system.memory.write(out, data.removesuffix(b"\n") + b"\0")
    return out


@MSVCRT("fgetc getc", "p", "i")
def fgetc(system: System, file: int) -> int:
    found = stream(system, file)
    return found.take() if found is not None else -1


@MSVCRT("_filbuf", "p", "i")
def filbuf(system: System, file: int) -> int:
    """What the macro getc calls when nothing is in the buffer: nothing ever is."""
    system.put(file + system.word, 0, 4)
    return fgetc(system, file)  # type: ignore[no-any-return]


@MSVCRT("fgetwc getwc", "p", "i")
def fgetwc(system: System, file: int) -> int:
    code = fgetc(system, file)
    return 0xFFFF if code < 0 else code


@MSVCRT("getchar _fgetchar", "", "i")
def getchar(system: System) -> int:
    return standard(system, 0).take()


@MSVCRT("ungetc", "ip", "i")
def ungetc(system: System, code: int, file: int) -> int:
    found = stream(system, file)
    if found is None or code < 0:
        return -1
    found.push(code)
    return code & 255


@MSVCRT("feof", "p", "i")
def feof(system: System, file: int) -> int:
    found = stream(system, file)
    return END * found.marked(END) if found is not None else 0


@MSVCRT("ferror", "p", "i")
def ferror(system: System, file: int) -> int:
    found = stream(system, file)
    return ERROR * found.marked(ERROR) if found is not None else 0


@MSVCRT("clearerr", "p", "v")
def clearerr(system: System, file: int) -> None:
    found = stream(system, file)
    if found is not None:
        found.unmark(END | ERROR)


# -- position -------------------------------------------------------------------------------------


@MSVCRT("fseek", "pii", "i")
@MSVCRT("_fseeki64", "pqi", "i")
def fseek(system: System, file: int, offset: int, whence: int) -> int:
    found = stream(system, file)
    if found is None or whence not in (0, 1, 2):
        return failed(system, 22, -1)
    try:
        found.seek(offset - ((offset >> 63 & 1) << 64), whence)
    except OSError as error:
        return failed(system, error.errno or 0, -1)
    return 0


@MSVCRT("ftell", "p", "i")
@MSVCRT("_ftelli64", "p", "q")
def ftell(system: System, file: int) -> int:
    found = stream(system, file)
    try:
        return found.tell() if found is not None else failed(system, 22, -1)
    except OSError as error:
        return failed(system, error.errno or 0, -1)


@MSVCRT("rewind", "p", "v")
def rewind(system: System, file: int) -> None:
    fseek(system, file, 0, 0)
    clearerr(system, file)


@MSVCRT("fgetpos", "pp", "i")
def fgetpos(system: System, file: int, out: int) -> int:
    at = ftell(system, file)
    system.put(out, at, 8)
    return 0 if at >= 0 else -1


@MSVCRT("fsetpos", "pp", "i")
def fsetpos(system: System, file: int, place: int) -> int:
    return fseek(system, file, system.number(place, 8), 0)  # type: ignore[no-any-return]


@MSVCRT("_fileno fileno", "p", "i")
def fileno(system: System, file: int) -> int:
    found = stream(system, file)
    return found.number if found is not None else -1


@MSVCRT("_lock_file _unlock_file", "p", "v")
def lock_file(_system: System, _file: int) -> None:
    return

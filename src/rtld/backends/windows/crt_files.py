"""msvcrt.dll: files by descriptor, what is known of a file, what is in a directory. ``crt_paths`` has names."""

from __future__ import annotations

import os
import stat as modes
import struct

from rtld.backends.windows.crt_streams import (
    Descriptor,
    add_descriptor,
    close_descriptor,
    descriptors,
    flush_all,
)
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_files import write_all
from rtld.backends.windows.msvcrt import MSVCRT, failed
from rtld.backends.windows.msvcrt_streams import open_path
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

_TEXT, _BINARY = 0x4000, 0x8000
_PIECE = 1 << 20


def text_of(name: Any) -> str:
    """A name of either kind."""
    return name if isinstance(name, str) else (name or b"").decode("latin-1")


def _descriptor(system: System, number: int) -> Descriptor | None:
    found = descriptors(system).get(number)
    if found is None:
        failed(system, 9, 0)
    return found


# -- descriptors ----------------------------------------------------------------------------------


@MSVCRT("_open", "si.", "i")
@MSVCRT("_wopen", "wi.", "i")
def open_(system: System, name: Any, wanted: int, _values: Any) -> int:
    flags = wanted & 3
    for bit, ours in ((0x8, os.O_APPEND), (0x100, os.O_CREAT), (0x200, os.O_TRUNC), (0x400, os.O_EXCL)):  # fmt: skip
        flags |= ours if wanted & bit else 0
    try:
        return open_path(system, text_of(name), flags, text=not wanted & _BINARY)
    except OSError as error:
        return failed(system, error.errno or 0, -1)


@MSVCRT("_sopen", "sii.", "i")
@MSVCRT("_wsopen", "wii.", "i")
def sopen(system: System, name: Any, wanted: int, _share: int, values: Any) -> int:
    return open_(system, name, wanted, values)  # type: ignore[no-any-return]


@MSVCRT("_sopen_s", "psiii", "i")
@MSVCRT("_wsopen_s", "pwiii", "i")
def sopen_s(system: System, out: int, name: Any, wanted: int, _share: int, _mode: int) -> int:
    number = open_(system, name, wanted, None)
    system.put(out, number, 4)
    return 0 if number >= 0 else int(system.number(int(MSVCRT.functions["_errno"].action(system)), 4))  # fmt: skip


@MSVCRT("_creat", "si", "i")
def creat(system: System, name: bytes, _mode: int) -> int:
    return open_(system, name, 0x301, None)  # type: ignore[no-any-return]


@MSVCRT("_close close", "i", "i")
def close(system: System, number: int) -> int:
    flush_all(system)
    return 0 if close_descriptor(system, number) else failed(system, 9, -1)


@MSVCRT("_write write", "ipu", "i")
def write(system: System, number: int, data: int, size: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    try:
        for start in range(0, size, _PIECE):
            content = system.memory.read(data + start, min(size - start, _PIECE))
            write_all(found.fd, content.replace(b"\n", b"\r\n") if found.text else content)
    except OSError as error:
        return failed(system, error.errno or 0, -1)
    return size


@MSVCRT("_read read", "ipu", "i")
def read(system: System, number: int, out: int, size: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    try:
        data = os.read(found.fd, min(size, _PIECE))
    except OSError as error:
        return failed(system, error.errno or 0, -1)
    if found.text:
        data = data.replace(b"\r\n", b"\n").partition(b"\x1a")[0]
    if data:
        system.memory.write(out, data)
    return len(data)


@MSVCRT("_lseek", "iii", "i")
@MSVCRT("_lseeki64", "iqi", "q")
def lseek(system: System, number: int, offset: int, whence: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    try:
        return os.lseek(found.fd, offset - ((offset >> 63 & 1) << 64), whence)
    except OSError as error:
        return failed(system, error.errno or 0, -1)


@MSVCRT("_tell", "i", "i")
@MSVCRT("_telli64", "i", "q")
def tell(system: System, number: int) -> int:
    return lseek(system, number, 0, 1)  # type: ignore[no-any-return]


@MSVCRT("_filelength", "i", "i")
@MSVCRT("_filelengthi64", "i", "q")
def filelength(system: System, number: int) -> int:
    found = _descriptor(system, number)
    return -1 if found is None else os.fstat(found.fd).st_size


@MSVCRT("_eof", "i", "i")
def eof(system: System, number: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    return int(os.lseek(found.fd, 0, os.SEEK_CUR) >= os.fstat(found.fd).st_size)


@MSVCRT("_chsize", "ii", "i")
@MSVCRT("_chsize_s", "iq", "i")
def chsize(system: System, number: int, size: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    try:
        os.ftruncate(found.fd, size)
    except OSError as error:
        return failed(system, error.errno or 0, -1)
    return 0


@MSVCRT("_commit", "i", "i")
def commit(system: System, number: int) -> int:
    return 0 if _descriptor(system, number) is not None else -1


@MSVCRT("_isatty isatty", "i", "i")
def isatty(system: System, number: int) -> int:
    found = descriptors(system).get(number)
    return 0x40 if found is not None and os.isatty(found.fd) else 0


@MSVCRT("_setmode", "ii", "i")
def setmode(system: System, number: int, mode: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    was = _TEXT if found.text else _BINARY
    found.text = mode != _BINARY
    return was


@MSVCRT("_dup", "i", "i")
def dup(system: System, number: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    return add_descriptor(system, Descriptor(os.dup(found.fd), text=found.text, path=found.path))


@MSVCRT("_dup2", "ii", "i")
def dup2(system: System, number: int, other: int) -> int:
    found = _descriptor(system, number)
    if found is None or not 0 <= other < 2048:
        return failed(system, 9, -1)
    if number != other:
        flush_all(system)
        close_descriptor(system, other)
        descriptors(system)[other] = Descriptor(os.dup(found.fd), text=found.text, path=found.path)
    return 0


@MSVCRT("_get_osfhandle", "i", "p")
def get_osfhandle(system: System, number: int) -> int:
    found = _descriptor(system, number)
    if found is None:
        return -1
    if not found.handle:
        kind = "stream" if found.fd < 3 else "file"
        found.handle = system.add(Handle(kind, fd=os.dup(found.fd) if found.fd > 2 else found.fd, path=found.path, access=3))  # fmt: skip
    return found.handle


@MSVCRT("_open_osfhandle", "pi", "i")
def open_osfhandle(system: System, handle: int, flags: int) -> int:
    found = system.handle(handle, "stream", "file", "pipe")
    if found is None:
        return failed(system, 9, -1)
    descriptor = Descriptor(os.dup(found.fd), text=bool(flags & _TEXT), path=getattr(found, "path", ""))  # fmt: skip
    number = add_descriptor(system, descriptor)
    descriptor.handle = handle
    return number


@MSVCRT("_pipe", "pui", "i")
def pipe(system: System, out: int, _size: int, mode: int) -> int:
    for place, fd in zip((out, out + 4), os.pipe(), strict=True):
        system.put(place, add_descriptor(system, Descriptor(fd, text=not mode & _BINARY)), 4)
    return 0


# -- what a file is -------------------------------------------------------------------------------
# struct _stat in its forms: device, inode, mode, links, user, group, device, size, three times.

_FORMS = {
    "64": "<IHHhhhxxIxxxxqqqq", "32": "<IHHhhhxxIiiii", "32i64": "<IHHhhhxxIxxxxqiiixxxx", "64i32": "<IHHhhhxxIiqqq",
}  # fmt: skip


def _stat(system: System, status: os.stat_result, path: str, form: str, out: int) -> int:
    folder = modes.S_ISDIR(status.st_mode)
    mode = 0o040111 if folder else 0o100000 if modes.S_ISREG(status.st_mode) else 0o020000
    mode |= 0o444 | (0o222 if status.st_mode & 0o222 else 0)
    if path.lower().endswith((".exe", ".com", ".cmd", ".bat")):
        mode |= 0o111
    size = 0 if folder else status.st_size
    times = [int(t) & 0x7FFFFFFFFFFFFFFF for t in (status.st_atime, status.st_mtime, min(status.st_ctime, status.st_mtime))]  # fmt: skip
    if form in ("32", "32i64"):
        times = [t & 0x7FFFFFFF for t in times]
    if form in ("32", "64i32"):
        size = min(size, 0x7FFFFFFF)
    drive = 25 if path.startswith("/") else 2
    system.memory.write(
        out, struct.pack(_FORMS[form], drive, 0, mode, 1, 0, 0, drive, size, *times)
    )
    return 0


def _declare_stat(suffix: str, narrow: str, wide: str) -> None:
    """``narrow``, ``wide``: the form in programs of 32 and of 64 bits."""

    def by_name(system: System, name: Any, out: int) -> int:
        path = system.path(text_of(name)) if name else None
        form = wide if system.bits == 64 else narrow
        try:
            return _stat(system, os.stat(path or ""), path or "", form, out)
        except OSError as error:
            return failed(system, 2 if error.errno == 20 else error.errno or 2, -1)

    def by_number(system: System, number: int, out: int) -> int:
        found = _descriptor(system, number)
        if found is None:
            return -1
        form = wide if system.bits == 64 else narrow
        return _stat(system, os.fstat(found.fd), found.path, form, out)

    MSVCRT(f"_stat{suffix}", "sp", "i")(by_name)
    MSVCRT(f"_wstat{suffix}", "wp", "i")(by_name)
    MSVCRT(f"_fstat{suffix}", "ip", "i")(by_number)


#: suffix of a name -> forms in 32 and in 64 bits
_SUFFIXES = {
    "": ("32", "64i32"), "32": ("32", "32"), "64": ("64", "64"), "i64": ("32i64", "64"), "32i64": ("32i64", "32i64"),
    "64i32": ("64i32", "64i32"),
}  # fmt: skip
for _suffix, _forms in _SUFFIXES.items():
    _declare_stat(_suffix, *_forms)


# -- what is in a directory -----------------------------------------------------------------------
# struct _finddata_t in its forms: attributes, times made, read, written, size, name.

_FOUND = {"32": "<IiiiI260s", "64": "<I4xqqqq260s", "32i64": "<Iiiiq260s", "64i32": "<I4xqqqI260s"}


def _give(system: System, form: str, data: int, out: int, *, wide: bool) -> None:
    """From WIN32_FIND_DATA."""
    from rtld.backends.windows.paths import EPOCH

    found, made, read_, written, high, low = struct.unpack("<I3QII", system.memory.read(data, 36))
    name = system.memory.read(data + 44, 520 if wide else 260)
    times = [max(0, (t - EPOCH) // 10_000_000) for t in (made, read_, written)]
    size = high << 32 | low
    layout = _FOUND[form].replace("260s", "520s") if wide else _FOUND[form]
    if "I260" in layout or "I520" in layout:
        size = min(size, 0xFFFFFFFF)
    system.memory.write(out, struct.pack(layout, found, *times, size, name))


def _declare_find(suffix: str, form32: str, form64: str) -> None:
    def first(system: System, wide: bool, name: Any, out: int) -> int:
        data = system.heap.allocate(600)
        api = KERNEL32.functions["FindFirstFileW" if wide else "FindFirstFileA"]
        handle: int = api.action(system, name, data)
        if handle >= 0:
            _give(system, form64 if system.bits == 64 else form32, data, out, wide=wide)
        system.heap.free(data)
        return handle if handle >= 0 else failed(system, 2, -1)

    def following(system: System, wide: bool, handle: int, out: int) -> int:
        data = system.heap.allocate(600)
        api = KERNEL32.functions["FindNextFileW" if wide else "FindNextFileA"]
        done = api.action(system, handle, data)
        if done:
            _give(system, form64 if system.bits == 64 else form32, data, out, wide=wide)
        system.heap.free(data)
        return 0 if done else failed(system, 2, -1)

    MSVCRT(f"_findfirst{suffix}", "sp", "p")(lambda s, n, o: first(s, False, n, o))
    MSVCRT(f"_wfindfirst{suffix}", "wp", "p")(lambda s, n, o: first(s, True, n, o))
    MSVCRT(f"_findnext{suffix}", "pp", "i")(lambda s, h, o: following(s, False, h, o))
    MSVCRT(f"_wfindnext{suffix}", "pp", "i")(lambda s, h, o: following(s, True, h, o))


for _suffix, _forms in _SUFFIXES.items():
    _declare_find(_suffix, *_forms)


@MSVCRT("_findclose", "p", "i")
def findclose(system: System, handle: int) -> int:
    return 0 if KERNEL32.functions["FindClose"].action(system, handle) else failed(system, 22, -1)

"""KERNEL32.dll: files, directories, the console. Paths are confined to the root that the program may see."""

from __future__ import annotations

import os

from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

INVALID = -1
_ERRNO = {2: 2, 13: 5, 17: 80, 20: 3, 21: 5, 28: 112}  # errno -> Win32


def _error(system: System, error: OSError, result: int = 0) -> int:
    code = _ERRNO.get(error.errno or 0, 31)
    if code == 2 and error.filename and not os.path.isdir(os.path.dirname(error.filename)):
        code = 3  # ERROR_PATH_NOT_FOUND
    return system.fail(code, result)


@KERNEL32("GetStdHandle", "u", "p")
def get_std_handle(system: System, which: int) -> int:
    return system.standard.get(which, 0) or system.fail(6, INVALID)


@KERNEL32("SetStdHandle", "up")
def set_std_handle(system: System, which: int, handle: int) -> int:
    system.standard[which] = handle
    return 1


@KERNEL32("GetFileType", "p")
def get_file_type(system: System, handle: int) -> int:
    found = system.handle(handle, "stream", "file")
    if found is None:
        return 0
    if found.kind == "file":
        return 1
    return 2 if os.isatty(found.fd) else 3


@KERNEL32("GetConsoleMode", "pp")
def get_console_mode(system: System, _handle: int, _out: int) -> int:
    return system.fail(6)


@KERNEL32("SetConsoleMode", "pu")
def set_console_mode(system: System, _handle: int, _mode: int) -> int:
    return system.fail(6)


@KERNEL32("SetConsoleCtrlHandler", "pu")
def set_console_ctrl_handler(_system: System, _handler: int, _add: int) -> int:
    return 1


@KERNEL32("SetConsoleCP SetConsoleOutputCP", "u")
def set_console_cp(_system: System, _page: int) -> int:
    return 1


@KERNEL32("WriteFile", "ppupp")
def write_file(system: System, handle: int, data: int, size: int, done: int, _overlapped: int) -> int:  # fmt: skip
    found = system.handle(handle, "stream", "file")
    if found is None:
        return 0
    try:
        count = write_all(found.fd, system.memory.read(data, size))
    except OSError as error:
        return _error(system, error)
    if done:
        system.put(done, count, 4)
    return 1


def write_all(fd: int, data: bytes) -> int:
    """Everything, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)


@KERNEL32("WriteConsoleA", "ppupp")
def write_console_a(system: System, handle: int, data: int, size: int, done: int, reserved: int) -> int:  # fmt: skip
    return int(write_file(system, handle, data, size, done, reserved))


@KERNEL32("ReadFile", "ppupp")
def read_file(system: System, handle: int, out: int, size: int, done: int, _overlapped: int) -> int:
    found = system.handle(handle, "stream", "file")
    if found is None:
        return 0
    try:
        data = os.read(found.fd, size)
    except OSError as error:
        return _error(system, error)
    system.memory.write(out, data)
    if done:
        system.put(done, len(data), 4)
    return 1


@KERNEL32("CreateFileA", "suupuup", "p")
@KERNEL32("CreateFileW", "wuupuup", "p")
def create_file(system: System, name: Any, access: int, _share: int, _sa: int, how: int, _flags: int, _template: int) -> int:  # fmt: skip
    text = name if isinstance(name, str) else (name or b"").decode("latin-1")
    if text.upper() in ("CONOUT$", "CONIN$"):
        return system.add(Handle("stream", fd=1 if text.upper() == "CONOUT$" else 0))
    path = system.path(text)
    if path is None:
        return system.fail(5, INVALID)
    flags = {0x40000000: os.O_WRONLY, 0xC0000000: os.O_RDWR}.get(access & 0xC0000000, os.O_RDONLY)
    flags |= os.O_CLOEXEC
    flags |= {1: os.O_CREAT | os.O_EXCL, 2: os.O_CREAT | os.O_TRUNC, 3: 0, 4: os.O_CREAT, 5: os.O_TRUNC}.get(how, 0)  # fmt: skip
    there = os.path.exists(path)
    try:
        fd = os.open(path, flags, 0o644)
    except OSError as error:
        return _error(system, error, INVALID)
    system.last_error = 183 if there and how in (2, 4) else 0
    return system.add(Handle("file", fd=fd, path=path))


@KERNEL32("SetFilePointer", "pipu")
def set_file_pointer(system: System, handle: int, low: int, high: int, whence: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0xFFFFFFFF
    offset = low
    if high:
        offset = (low & 0xFFFFFFFF) | system.number(high, 4) << 32
    at = os.lseek(found.fd, offset, whence)
    if high:
        system.put(high, at >> 32, 4)
    return at & 0xFFFFFFFF


@KERNEL32("SetFilePointerEx", "pqpu")
def set_file_pointer_ex(system: System, handle: int, offset: int, out: int, whence: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    offset -= (offset >> 63) << 64
    at = os.lseek(found.fd, offset, whence)
    if out:
        system.put(out, at, 8)
    return 1


@KERNEL32("GetFileSize", "pp")
def get_file_size(system: System, handle: int, high: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0xFFFFFFFF
    size = os.fstat(found.fd).st_size
    if high:
        system.put(high, size >> 32, 4)
    return size & 0xFFFFFFFF


@KERNEL32("GetFileSizeEx", "pp")
def get_file_size_ex(system: System, handle: int, out: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    system.put(out, os.fstat(found.fd).st_size, 8)
    return 1


@KERNEL32("FlushFileBuffers", "p")
def flush_file_buffers(_system: System, _handle: int) -> int:
    return 1


@KERNEL32("SetEndOfFile", "p")
def set_end_of_file(system: System, handle: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    os.ftruncate(found.fd, os.lseek(found.fd, 0, os.SEEK_CUR))
    return 1


def _text(name: Any) -> str:
    return name if isinstance(name, str) else (name or b"").decode("latin-1")


@KERNEL32("DeleteFileA", "s")
@KERNEL32("DeleteFileW", "w")
def delete_file(system: System, name: Any) -> int:
    path = system.path(_text(name))
    if path is None:
        return system.fail(5)
    try:
        os.unlink(path)
    except OSError as error:
        return _error(system, error)
    return 1


@KERNEL32("CreateDirectoryA", "sp")
@KERNEL32("CreateDirectoryW", "wp")
def create_directory(system: System, name: Any, _sa: int) -> int:
    path = system.path(_text(name))
    if path is None:
        return system.fail(5)
    try:
        os.mkdir(path)
    except OSError as error:
        return system.fail(183) if error.errno == 17 else _error(system, error)
    return 1


@KERNEL32("GetFileAttributesA", "s")
@KERNEL32("GetFileAttributesW", "w")
def get_file_attributes(system: System, name: Any) -> int:
    path = system.path(_text(name))
    if path is None or not os.path.exists(path):
        return system.fail(2, 0xFFFFFFFF)
    return 0x10 if os.path.isdir(path) else 0x20


@KERNEL32("GetCurrentDirectoryA", "up")
def get_current_directory_a(system: System, room: int, out: int) -> int:
    return system.put_text(out, b"C:\\", room)


@KERNEL32("GetCurrentDirectoryW", "up")
def get_current_directory_w(system: System, room: int, out: int) -> int:
    return system.put_text(out, "C:\\", room)


@KERNEL32("GetTempPathA", "up")
def get_temp_path_a(system: System, room: int, out: int) -> int:
    return system.put_text(out, b"C:\\", room)

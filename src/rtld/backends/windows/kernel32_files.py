"""KERNEL32.dll: open files, pipes and standard streams. Paths are confined to the root that the program may see."""

from __future__ import annotations

import os
import select
import stat

from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.paths import device, host_path
from rtld.backends.windows.system import Handle
from rtld.core.late import Late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows import completion
    from rtld.backends.windows import kernel32_pipes as pipes
    from rtld.backends.windows.system import System

else:
    # Few programs have files that tell of their ends later.
    completion = Late("rtld.backends.windows.completion")
    pipes = Late("rtld.backends.windows.kernel32_pipes")

PIPE = "\\\\.\\pipe\\"

INVALID = -1
READ_, WRITE_, DELETE_ = 1, 2, 4  # as FILE_SHARE_*
_ERRNO = {1: 5, 2: 2, 9: 6, 13: 5, 17: 80, 18: 17, 20: 3, 21: 5, 22: 87, 26: 32, 27: 112, 28: 112, 30: 19, 31: 1142, 32: 232, 36: 206, 39: 145, 40: 1921}  # fmt: skip
_PIECE = 1 << 20  # no memory is taken on a size that a program says
_DELETE_ON_CLOSE, _BACKUP = 0x04000000, 0x02000000


def failed(system: System, error: OSError, result: int = 0) -> int:
    """The last error for one of ours; the result to return."""
    code = _ERRNO.get(error.errno or 0, 31)
    if code == 2 and error.filename and not os.path.isdir(os.path.dirname(error.filename)):
        code = 3  # ERROR_PATH_NOT_FOUND
    return system.fail(code, result)


@KERNEL32("GetStdHandle", "u", "p")
def get_std_handle(system: System, which: int) -> int:
    return system.standard.get(which, 0) or system.fail(6, INVALID)


@KERNEL32("SetStdHandle", "up")
def set_std_handle(system: System, which: int, handle: int) -> int:
    if which not in system.standard:
        return system.fail(6)
    system.standard[which] = handle
    system.loader.peb.redirected(which, handle)
    return 1


@KERNEL32("GetFileType", "p")
def get_file_type(system: System, handle: int) -> int:
    found = system.handle(handle, "stream", "file", "pipe")
    if found is None:
        return 0
    system.last_error = 0
    mode = os.fstat(found.fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return 1
    return 2 if stat.S_ISCHR(mode) else 3  # FILE_TYPE_CHAR, FILE_TYPE_PIPE


# -- reading and writing --------------------------------------------------------------------------


def _at(system: System, found: Handle, overlapped: int) -> None:
    """An OVERLAPPED says where to read or to write."""
    if overlapped and found.kind == "file":
        offset = system.number(overlapped + 2 * system.word, 8)
        os.lseek(found.fd, min(offset, (1 << 63) - 1), os.SEEK_SET)


def _done(system: System, found: Handle, done: int, overlapped: int, count: int) -> int:
    if done:
        system.put(done, count, 4)
    if overlapped:
        teller = overlapped_teller(system, overlapped)
        completion.tell(system, found, teller, (0, count), None, at_once=True)
    return 1


def overlapped_teller(system: System, overlapped: int) -> Any:
    """Whom an OVERLAPPED says to tell."""
    return completion.Teller(overlapped, system.number(overlapped + 2 * system.word + 8), overlapped)  # fmt: skip


@KERNEL32("WriteFile", "ppupp")
def write_file(system: System, handle: int, data: int, size: int, done: int, overlapped: int) -> Any:  # fmt: skip
    found = system.handle(handle, "stream", "file", "pipe")
    if found is None:
        return 0
    if found.kind == "pipe" and (overlapped or found.__dict__.get("named")):
        return pipes.write(system, found, data, size, done, overlapped)
    try:
        _at(system, found, overlapped)
        count = write_pieces(system, found, data, size)
    except OSError as error:
        return failed(system, error)
    return _done(system, found, done, overlapped, count)


def write_pieces(system: System, found: Handle, data: int, size: int) -> int:
    """All of it; *size*. OSError."""
    count = 0
    while count < size:
        piece = min(size - count, _PIECE)
        count += write_all(found.fd, system.memory.read(data + count, piece))
    return count


def write_all(fd: int, data: bytes) -> int:
    """Everything, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)


def read_pieces(system: System, found: Handle, out: int, size: int) -> int:
    """As much as a file has, or as a stream gives at once; how much that is. OSError."""
    count = 0
    while count < size:
        data = os.read(found.fd, min(size - count, _PIECE))
        system.memory.write(out + count, data)
        count += len(data)
        if found.kind != "file" or not data:
            break
    return count


@KERNEL32("ReadFile", "ppupp")
def read_file(system: System, handle: int, out: int, size: int, done: int, overlapped: int) -> Any:
    found = system.handle(handle, "stream", "file", "pipe")
    if found is None:
        return 0
    if found.kind == "pipe":
        return pipes.read(system, found, out, size, done, overlapped)
    try:
        _at(system, found, overlapped)
        count = read_pieces(system, found, out, size)
    except OSError as error:
        return failed(system, error)
    if overlapped and size and not count:
        return system.fail(38)  # ERROR_HANDLE_EOF
    return _done(system, found, done, overlapped, count)


@KERNEL32("CreatePipe", "pppu")
def create_pipe(system: System, read: int, write: int, _sa: int, _size: int) -> int:
    for place, fd in zip((read, write), os.pipe(), strict=True):
        system.put(place, system.add(Handle("pipe", fd=fd)))
    return 1


@KERNEL32("PeekNamedPipe", "ppuppp")
def peek_named_pipe(system: System, handle: int, _out: int, _size: int, count: int, waiting: int, left: int) -> int:  # fmt: skip
    import array
    import fcntl
    import termios

    found = system.handle(handle, "pipe", "stream")
    if found is None:
        return 0
    size = array.array("i", [0])
    try:
        fcntl.ioctl(found.fd, termios.FIONREAD, size)
    except OSError as error:
        return failed(system, error)
    if not size[0] and select.select([found.fd], [], [], 0)[0]:
        return system.fail(109)  # ERROR_BROKEN_PIPE: it is at its end
    for place, value in ((count, 0), (waiting, size[0]), (left, 0)):
        if place:
            system.put(place, value, 4)
    return 1


# -- opening --------------------------------------------------------------------------------------


def _wanted(access: int) -> int:
    """What an access mask allows, as FILE_SHARE_* bits."""
    result = READ_ if access & 0xB0000021 else 0
    result |= WRITE_ if access & 0x50000006 else 0
    return result | (DELETE_ if access & 0x10010000 else 0)


@KERNEL32.both("CreateFile", "tuupuup", "p")
def create_file(system: System, _wide: bool, name: str, access: int, share: int, _sa: int, how: int, flags: int, _template: int) -> int:  # fmt: skip
    if not name:
        return system.fail(3, INVALID)
    if name.lower().startswith(PIPE):
        return pipes.open_end(system, name, access)
    special = device(name)
    if special == "nul":
        return system.add(Handle("file", fd=os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), path=os.devnull))  # fmt: skip
    if special is not None:
        out = special == "conout$" or (special == "con" and access & 0x40000000)
        return system.add(Handle("stream", fd=1 if out else 0))
    path = host_path(system, name)
    if path is None:
        return system.fail(5, INVALID)
    return open_file(system, path, _wanted(access), share, how, flags, append=access & 0x40000006 == 4)  # fmt: skip


def open_file(system: System, path: str, access: int, share: int, how: int, flags: int = 0, *, append: bool = False) -> int:  # fmt: skip
    """A handle of one of our files, or -1 and the last error. ``how``: CREATE_NEW 1 ... TRUNCATE_EXISTING 5."""
    if not 1 <= how <= 5:
        return system.fail(87, INVALID)
    mode = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY, os.O_RDWR)[access & 3] | os.O_CLOEXEC
    mode |= os.O_APPEND if append else 0
    mode |= {1: os.O_CREAT | os.O_EXCL, 2: os.O_CREAT, 3: 0, 4: os.O_CREAT, 5: 0}[how]
    try:
        status = os.stat(path)
    except OSError:
        status = None
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            if how == 1:
                return system.fail(80, INVALID)
            if not flags & _BACKUP or access & WRITE_:
                return system.fail(5, INVALID)
            mode = os.O_RDONLY | os.O_CLOEXEC
        elif access & WRITE_ and not status.st_mode & 0o222:
            return system.fail(5, INVALID)
        if how == 1:
            return system.fail(80, INVALID)
        if not system.may_share(status, access, share):
            return system.fail(32, INVALID)
    elif not os.path.isdir(os.path.dirname(path)):
        return system.fail(3, INVALID)
    try:
        fd = os.open(path, mode | os.O_NONBLOCK, 0o644)
        if status is not None and how in (2, 5):
            os.ftruncate(fd, 0) if access & WRITE_ else os.truncate(path, 0)
    except OSError as error:
        return failed(system, error, INVALID)
    system.last_error = 183 if status is not None and how in (2, 4) else 0
    handle = Handle("file", fd=fd, path=path, delete=bool(flags & _DELETE_ON_CLOSE), access=access)
    system.share(handle, os.fstat(fd), access, share)
    return system.add(handle)


@KERNEL32("CloseHandle", "p")
def close_handle(system: System, handle: int) -> int:
    return int(system.close(handle)) or system.fail(6)


@KERNEL32("DuplicateHandle", "pppppuu")
def duplicate_handle(system: System, _from: int, handle: int, _to: int, out: int, _access: int, _inherit: int, options: int) -> int:  # fmt: skip
    word = (1 << system.bits) - 1
    if handle & word == word - 1:
        found: Handle | None = Handle("thread", thread=system.threads.current)
    elif handle & word == word:
        found = Handle("process", pid=None)
    else:
        found = system.handle(handle)
        if found is None:
            return 0
        found.count += 1
    assert found is not None
    if out:
        system.put(out, system.add(found))
    if options & 1:
        system.close(handle)
    return 1


@KERNEL32("GetHandleInformation", "pp")
def get_handle_information(system: System, handle: int, out: int) -> int:
    if system.handle(handle) is None:
        return 0
    system.put(out, 0, 4)
    return 1


@KERNEL32("SetHandleInformation", "puu")
def set_handle_information(system: System, handle: int, _mask: int, _flags: int) -> int:
    return int(system.handle(handle) is not None)


@KERNEL32("CompareObjectHandles", "pp")
def compare_object_handles(system: System, a: int, b: int) -> int:
    return int(system.handle(a) is not None and system.handle(a) is system.handle(b))


# -- where in a file ------------------------------------------------------------------------------


@KERNEL32("SetFilePointer", "pipu")
def set_file_pointer(system: System, handle: int, low: int, high: int, whence: int) -> int:
    offset = low
    if high:
        offset = (low & 0xFFFFFFFF) | system.number(high, 4) << 32
        offset -= (offset >> 63) << 64
    at = _seek(system, handle, offset, whence)
    if at < 0:
        return 0xFFFFFFFF
    if high:
        system.put(high, at >> 32, 4)
    system.last_error = 0
    return at & 0xFFFFFFFF


def _seek(system: System, handle: int, offset: int, whence: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return -1
    if whence > 2:
        return system.fail(87, -1)
    try:
        return os.lseek(found.fd, offset, whence)
    except (OSError, OverflowError):
        return system.fail(131, -1)  # ERROR_NEGATIVE_SEEK


@KERNEL32("SetFilePointerEx", "pqpu")
def set_file_pointer_ex(system: System, handle: int, offset: int, out: int, whence: int) -> int:
    at = _seek(system, handle, offset - ((offset >> 63) << 64), whence)
    if at < 0:
        return 0
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
    system.last_error = 0
    return size & 0xFFFFFFFF


@KERNEL32("GetFileSizeEx", "pp")
def get_file_size_ex(system: System, handle: int, out: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    system.put(out, os.fstat(found.fd).st_size, 8)
    return 1


@KERNEL32("FlushFileBuffers", "p")
def flush_file_buffers(system: System, handle: int) -> int:
    return int(system.handle(handle, "file", "pipe", "stream") is not None)


@KERNEL32("SetEndOfFile", "p")
def set_end_of_file(system: System, handle: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    try:
        os.ftruncate(found.fd, os.lseek(found.fd, 0, os.SEEK_CUR))
    except OSError as error:
        return failed(system, error)
    return 1


@KERNEL32("LockFile UnlockFile", "puuuu")
def lock_file(system: System, handle: int, *_: int) -> int:
    """One process has the files, and its handles do not lock each other out here."""
    return int(system.handle(handle, "file") is not None)


@KERNEL32("LockFileEx", "puuuup")
@KERNEL32("UnlockFileEx", "puuup")
def lock_file_ex(system: System, handle: int, *_: int) -> int:
    return int(system.handle(handle, "file") is not None)


@KERNEL32("DeviceIoControl", "pupupupp")
def device_io_control(system: System, *_: int) -> int:
    return system.fail(1)  # ERROR_INVALID_FUNCTION

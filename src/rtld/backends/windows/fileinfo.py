"""What a file is told to be, by its handle: the structures that KERNEL32 and NTDLL share (ntifs.h, winbase.h).

FILE_INFORMATION_CLASS of NTDLL; FILE_INFO_BY_HANDLE_CLASS of KERNEL32 has other numbers for the same ones.
"""

from __future__ import annotations

import os
import stat
import struct

from rtld.backends.windows.paths import (
    DIRECTORY,
    EPOCH,
    READONLY,
    attributes,
    filetime,
    full_name,
    times,
    windows_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import Handle, System

SUCCESS, ACCESS_DENIED, INVALID_PARAMETER, NOT_IMPLEMENTED = 0, 0xC0000022, 0xC000000D, 0xC0000002
LENGTH_MISMATCH, OVERFLOW, NOT_FOUND, NO_PATH, COLLISION = 0xC0000004, 0x80000005, 0xC0000034, 0xC000003A, 0xC0000035  # fmt: skip
NOT_EMPTY, NO_MORE, SHARING, IS_DIRECTORY, NOT_DIRECTORY = 0xC0000101, 0x80000006, 0xC0000043, 0xC00000BA, 0xC0000103  # fmt: skip
#: errno -> STATUS_*
STATUS = {1: ACCESS_DENIED, 2: NOT_FOUND, 13: ACCESS_DENIED, 17: COLLISION, 20: NO_PATH, 21: IS_DIRECTORY, 22: INVALID_PARAMETER,
          28: 0xC000007F, 30: 0xC00000A2, 39: NOT_EMPTY}  # fmt: skip
#: FILE_INFO_BY_HANDLE_CLASS -> FILE_INFORMATION_CLASS
CLASSES = {0: 4, 1: 5, 2: 9, 3: 10, 4: 13, 5: 19, 6: 20, 7: 22, 9: 35, 10: 37, 11: 37, 14: 2, 15: 2, 18: 59, 19: 60, 20: 60, 21: 64, 22: 65}  # fmt: skip
_MOST = 1 << 20


def about(system: System, found: Handle, kind: int) -> bytes | None:
    """The structure of that class; None: of none that is known."""
    status = os.fstat(found.fd)
    regular, folder = stat.S_ISREG(status.st_mode), stat.S_ISDIR(status.st_mode)
    path = found.__dict__.get("path", "")
    made, read, written = times(status)
    has = attributes(path, status) if path else 0x80
    size = status.st_size if regular else 0
    if kind == 4:  # FileBasicInformation
        return struct.pack("<4QI4x", made, read, written, filetime(status.st_ctime_ns), has)
    deleted = bool(found.__dict__.get("delete"))
    standard = struct.pack("<qqI??2x", status.st_blocks * 512, size, status.st_nlink - deleted, deleted, folder)  # fmt: skip
    if kind == 5:
        return standard
    if kind == 6:  # FileInternalInformation
        return struct.pack("<Q", status.st_ino)
    if kind == 8:  # FileAccessInformation
        return struct.pack("<I", 0x12019F)
    if kind == 9:  # FileNameInformation, without the drive
        return _counted(windows_name(system, path)[2:])
    if kind == 14:  # FilePositionInformation
        return struct.pack("<q", os.lseek(found.fd, 0, os.SEEK_CUR) if regular else 0)
    if kind == 16:  # FileModeInformation
        return struct.pack("<I", 0x20)
    if kind == 18:  # FileAllInformation
        parts = [about(system, found, k) or b"" for k in (4, 5, 6)]
        return b"".join(parts) + struct.pack("<II", 0, 0x12019F) + (about(system, found, 14) or b"") + struct.pack("<II", 0x20, 0) + _counted(windows_name(system, path)[2:])  # fmt: skip
    if kind == 22:  # FileStreamInformation
        name = "::$DATA".encode("utf-16-le")
        return b"" if folder else struct.pack("<IIqq", 0, len(name), size, status.st_blocks * 512) + name  # fmt: skip
    if kind == 34:  # FileNetworkOpenInformation
        return struct.pack("<4QqqI4x", made, read, written, filetime(status.st_ctime_ns), status.st_blocks * 512, size, has)  # fmt: skip
    if kind == 35:  # FileAttributeTagInformation
        return struct.pack("<II", has, 0)
    if kind == 59:  # FileIdInformation
        return struct.pack("<QQQ", status.st_dev, status.st_ino, 0)
    return None


def _counted(text: str) -> bytes:
    data = text.encode("utf-16-le", "surrogatepass")
    return struct.pack("<I", len(data)) + data


# -- what is in a directory ------------------------------------------------------------------------

#: FILE_INFORMATION_CLASS of directories' entries.
_ENTRIES = (1, 2, 3, 12, 37, 38, 60)


def listing(system: System, found: Handle, kind: int, room: int, *, single: bool, restart: bool, mask: str = "") -> tuple[int, bytes]:  # fmt: skip
    """(status, as many entries as there is room for) from where the last call has ended."""
    if kind not in _ENTRIES:
        return NOT_IMPLEMENTED, b""
    if restart or "names" not in found.__dict__:
        from rtld.backends.windows.kernel32_find import pattern

        names = [".", "..", *sorted(os.listdir(found.fd)[:_MOST], key=str.upper)]
        wanted = pattern(mask) if mask and mask != "*" else None
        found.names = [n for n in names if wanted is None or wanted.match(n)]
        if not found.names:
            return 0xC000000F, b""  # STATUS_NO_SUCH_FILE
    result, last = b"", -1
    while found.names and (last < 0 or not single):
        entry = _entry(system, found, found.names[0], kind)
        if entry is None:
            found.names.pop(0)
            continue
        start = -(-len(result) // 8) * 8
        if start + len(entry) > room:
            break
        found.names.pop(0)
        result = result.ljust(start, b"\0")
        if last >= 0:
            result = result[:last] + struct.pack("<I", start - last) + result[last + 4 :]
        result, last = result + entry, start
    if last < 0:
        return (OVERFLOW if found.names else NO_MORE), b""
    return SUCCESS, result


def _entry(system: System, found: Handle, name: str, kind: int) -> bytes | None:
    path = found.path if name in (".", "..") else os.path.join(found.path, name)
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) and system.sees(os.path.realpath(path)):
            status = os.stat(path)
    except OSError:
        return None
    text = name.encode("utf-16-le", "surrogatepass")
    if kind == 12:  # FileNamesInformation
        return struct.pack("<III", 0, 0, len(text)) + text
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    made, read, written = times(status)
    has = DIRECTORY if name in (".", "..") else attributes(path, status)
    data = struct.pack("<II4Qqq", 0, 0, made, read, written, filetime(status.st_ctime_ns), size, status.st_blocks * 512)  # fmt: skip
    data += struct.pack("<II", has, len(text))
    if kind == 2:  # FileFullDirectoryInformation
        data += bytes(4)
    elif kind == 38:  # FileIdFullDirectoryInformation
        data += struct.pack("<I4xQ", 0, status.st_ino)
    elif kind in (
        3,
        37,
    ):  # FileBothDirectoryInformation, FileIdBothDirectoryInformation: no short name
        data += bytes(30) + (struct.pack("<2xQ", status.st_ino) if kind == 37 else b"")
    elif kind == 60:  # FileIdExtdDirectoryInformation
        data += struct.pack("<IIQQ", 0, 0, status.st_ino, 0)
    return data + text


# -- changes --------------------------------------------------------------------------------------


def change(system: System, found: Handle, kind: int, at: int, size: int) -> int:
    """A status; the structure of that class is at an address."""
    least = {4: 36, 10: 16 + system.word, 13: 1, 14: 8, 19: 8, 20: 8, 64: 4, 65: 16 + system.word}
    if kind not in least:
        return NOT_IMPLEMENTED
    if size < least[kind]:
        return LENGTH_MISMATCH
    try:
        if kind == 4:
            return _set_basic(system, found, system.memory.read(at, 36))
        if kind == 14:
            os.lseek(found.fd, system.number(at, 8) & (1 << 63) - 1, os.SEEK_SET)
        elif kind == 20:  # FileEndOfFileInformation
            os.ftruncate(found.fd, system.number(at, 8) & (1 << 62) - 1)
        elif kind == 13:
            return _delete(found, bool(system.number(at, 1)), posix=False)
        elif kind == 64:
            flags = system.number(at, 4)
            return _delete(found, bool(flags & 1), posix=bool(flags & 2))
        elif kind in (10, 65):
            return _rename(system, found, at, bool(system.number(at, 4 if kind == 65 else 1) & 1))
    except OSError as error:
        return STATUS.get(error.errno or 0, ACCESS_DENIED)
    return SUCCESS


def _set_basic(_system: System, found: Handle, data: bytes) -> int:
    made, read, written, _, has = struct.unpack("<4QI", data)
    status = os.fstat(found.fd)
    values = []
    for value, old in ((read, status.st_atime_ns), (written, status.st_mtime_ns)):
        values.append((value - EPOCH) * 100 if 0 < value < 1 << 62 else old)
    if made or read or written:
        os.utime(found.fd, ns=(values[0], values[1]))
    if has:
        mode = stat.S_IMODE(status.st_mode)
        os.fchmod(found.fd, mode & ~0o222 if has & READONLY else mode | 0o200 | mode & 0o444 >> 1)
    return SUCCESS


def _delete(found: Handle, wanted: bool, *, posix: bool) -> int:
    """The file goes with its last handle; by POSIX' rules its name goes at once."""
    status = os.fstat(found.fd)
    if not wanted:
        found.delete = False
        return SUCCESS
    if stat.S_ISDIR(status.st_mode):
        if os.listdir(found.fd):
            return NOT_EMPTY
        os.rmdir(found.path)
        return SUCCESS
    if not status.st_mode & 0o222 and not posix:
        return 0xC0000121  # STATUS_CANNOT_DELETE
    if posix:
        os.unlink(found.path)
    else:
        found.delete = True
    return SUCCESS


def _rename(system: System, found: Handle, at: int, replace: bool) -> int:
    word = system.word
    size = system.number(at + 2 * word, 4)
    if size > 0xFFFE:
        return INVALID_PARAMETER
    name = system.memory.read(at + 2 * word + 4, size).decode("utf-16-le", "surrogatepass")
    root = system.handles.get(system.number(at + word))
    directory = windows_name(system, root.path) if root is not None and root.kind == "file" else system.directory  # fmt: skip
    target = system.path(full_name(name.removeprefix("\\??\\"), directory))
    if target is None or found.path == system.root:
        return ACCESS_DENIED
    if os.path.exists(target) and not os.path.samefile(found.path, target):
        if not replace:
            return COLLISION
        if os.path.isdir(target):
            return ACCESS_DENIED
    os.rename(found.path, target)
    found.path = target
    return SUCCESS

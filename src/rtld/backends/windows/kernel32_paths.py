"""KERNEL32.dll: names of files, directories and what is in them, attributes, moving and copying."""

from __future__ import annotations

import os
import stat
import struct

from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_files import failed
from rtld.backends.windows.paths import (
    EPOCH,
    MAX_PATH,
    READONLY,
    attributes,
    device,
    full_name,
    times,
    windows_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

_SYSTEM = ("C:\\windows\\system32", "C:\\windows")

# -- names ----------------------------------------------------------------------------------------


@KERNEL32.both("GetFullPathName", "tupp")
def get_full_path_name(system: System, wide: bool, name: str, room: int, out: int, part: int) -> int:  # fmt: skip
    if not name:
        return system.fail(123)
    full = full_name(name, system.directory)
    last = full.rpartition("\\")[2]
    length = system.put_string(wide, out, room, full)
    if part and length < room:
        at = out + (len(full) - len(last)) * (2 if wide else 1)
        system.put(part, at if last and device(name) is None else 0)
    return length


@KERNEL32.both("GetLongPathName GetShortPathName", "tpu")
def get_long_path_name(system: System, wide: bool, name: str, out: int, room: int) -> int:
    """There are no short names: both give the name with the case that the disk has."""
    path = system.path(name) if name else None
    if path is None or not os.path.lexists(path):
        return system.fail(2)
    pieces = name.replace("/", "\\").split("\\")
    real = windows_name(system, path).split("\\")
    shown = [r if p.lower() == r.lower() else p for p, r in zip(reversed(pieces), reversed(real), strict=False)]  # fmt: skip
    text = "\\".join([*pieces[: len(pieces) - len(shown)], *reversed(shown)])
    return system.put_string(wide, out, room, text)


@KERNEL32.both("GetCurrentDirectory", "up")
def get_current_directory(system: System, wide: bool, room: int, out: int) -> int:
    return system.put_string(wide, out, room, system.directory)


@KERNEL32.both("SetCurrentDirectory", "t")
def set_current_directory(system: System, _wide: bool, name: str) -> int:
    path = system.path(name or "")
    if path is None or not os.path.isdir(path):
        return system.fail(2 if path is None or not os.path.exists(path) else 267)
    full = full_name(name, system.directory)
    system.directory = full if len(full) == 3 else full.rstrip("\\")
    system.loader.peb.moved()
    return 1


@KERNEL32.both("GetTempPath GetTempPath2", "up")
def get_temp_path(system: System, wide: bool, room: int, out: int) -> int:
    """TMP, TEMP, USERPROFILE where one names a directory that the program may see; else the root."""
    names = {k.upper(): v for k, v in system.environ.items()}
    for name in ("TMP", "TEMP", "USERPROFILE"):
        text = names.get(name, "")
        path = system.path(text) if text[1:3] in (":\\", ":/") else None
        if path is not None and os.path.isdir(path):
            text = full_name(text, system.directory).rstrip("\\") + "\\"
            return system.put_string(wide, out, room, text)
    return system.put_string(wide, out, room, "C:\\")


@KERNEL32.both("GetTempFileName", "ttup")
def get_temp_file_name(system: System, wide: bool, place: str, prefix: str, unique: int, out: int) -> int:  # fmt: skip
    directory = system.path(place or "")
    if directory is None or not os.path.isdir(directory):
        return system.fail(267)
    number = unique & 0xFFFF
    tried = number or int.from_bytes(os.urandom(2), "little") or 1
    for _ in range(0x10000):
        name = f"{(prefix or '')[:3]}{tried:x}.tmp"
        try:
            if not number:
                os.close(os.open(os.path.join(directory, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))  # fmt: skip
        except FileExistsError:
            tried = tried % 0xFFFF + 1
            continue
        except OSError as error:
            return failed(system, error)
        separator = "" if place.endswith(("\\", "/")) else "\\"
        system.put_string(wide, out, MAX_PATH, place + separator + name)
        return tried
    return system.fail(80)


@KERNEL32.both("GetWindowsDirectory GetSystemWindowsDirectory", "pu")
def get_windows_directory(system: System, wide: bool, out: int, room: int) -> int:
    return system.put_string(wide, out, room, "C:\\windows")


@KERNEL32.both("GetSystemDirectory", "pu")
def get_system_directory(system: System, wide: bool, out: int, room: int) -> int:
    return system.put_string(wide, out, room, "C:\\windows\\system32")


@KERNEL32("AreFileApisANSI")
def are_file_apis_ansi(_system: System) -> int:
    return 1


def _directories(system: System) -> list[str]:
    """Where SearchPath looks when it is not told."""
    program = system.loader.file_name(0).rpartition("\\")[0] + "\\"
    path = next((v for k, v in system.environ.items() if k.upper() == "PATH"), "")
    return [program, system.directory, *_SYSTEM, *[d for d in path.split(";") if d]]


@KERNEL32.both("SearchPath", "tttupp")
def search_path(system: System, wide: bool, where: str, name: str, ending: str, room: int, out: int, part: int) -> int:  # fmt: skip
    if not name:
        return system.fail(87)
    ending = ending or ""
    if ending and "." not in name.replace("/", "\\").rpartition("\\")[2]:
        name += ending
    directories = where.split(";") if where else _directories(system)
    if name[1:2] == ":" or "\\" in name or "/" in name:
        directories = [system.directory]
    for directory in directories:
        full = full_name(name, full_name(directory, system.directory).rstrip("\\") or "C:")
        path = system.path(full)
        if path is not None and os.path.exists(path):
            return int(get_full_path_name(system, wide, full, room, out, part))
    return system.fail(2)


# -- attributes -----------------------------------------------------------------------------------


def _status(system: System, name: str | None) -> tuple[str, os.stat_result] | None:
    """Path and status of a file by name; None, and the last error, without one."""
    path = system.path(name) if name else None
    if path is None:
        system.fail(5 if name else 3)
        return None
    try:
        return path, os.stat(path)
    except OSError as error:
        failed(system, error)
        return None


@KERNEL32.both("GetFileAttributes", "t")
def get_file_attributes(system: System, _wide: bool, name: str) -> int:
    found = _status(system, name)
    return 0xFFFFFFFF if found is None else attributes(*found)


@KERNEL32.both("GetFileAttributesEx", "tup")
def get_file_attributes_ex(system: System, _wide: bool, name: str, level: int, out: int) -> int:
    if level:
        return system.fail(87)
    found = _status(system, name)
    if found is None:
        return 0
    path, status = found
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    system.memory.write(out, struct.pack("<I3QII", attributes(path, status), *times(status), size >> 32, size & 0xFFFFFFFF))  # fmt: skip
    return 1


@KERNEL32.both("SetFileAttributes", "tu")
def set_file_attributes(system: System, _wide: bool, name: str, wanted: int) -> int:
    found = _status(system, name)
    if found is None:
        return 0
    mode = stat.S_IMODE(found[1].st_mode)
    try:
        os.chmod(found[0], mode & ~0o222 if wanted & READONLY else mode | 0o200 | mode & 0o444 >> 1)
    except OSError as error:
        return failed(system, error)
    return 1


@KERNEL32("GetFileInformationByHandle", "pp")
def get_file_information_by_handle(system: System, handle: int, out: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    status = os.fstat(found.fd)
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    system.memory.write(out, struct.pack(
        "<I3Q6I", attributes(found.path, status), *times(status), status.st_dev & 0xFFFFFFFF, size >> 32,
        size & 0xFFFFFFFF, status.st_nlink, status.st_ino >> 32 & 0xFFFFFFFF, status.st_ino & 0xFFFFFFFF,
    ))  # fmt: skip
    return 1


@KERNEL32.both("GetFinalPathNameByHandle", "ppuu")
def get_final_path_name_by_handle(system: System, wide: bool, handle: int, out: int, room: int, flags: int) -> int:  # fmt: skip
    found = system.handle(handle, "file")
    if found is None:
        return 0
    name = windows_name(system, found.path)
    return system.put_string(wide, out, room, name[2:] if flags & 4 else "\\\\?\\" + name)


@KERNEL32("GetFileTime", "pppp")
def get_file_time(system: System, handle: int, *places: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    for place, value in zip(places, times(os.fstat(found.fd)), strict=True):
        if place:
            system.put(place, value, 8)
    return 1


@KERNEL32("SetFileTime", "pppp")
def set_file_time(system: System, handle: int, _made: int, read: int, written: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return 0
    status = os.fstat(found.fd)
    values = []
    for place, old in ((read, status.st_atime_ns), (written, status.st_mtime_ns)):
        value = system.number(place, 8) if place else 0
        values.append((value - EPOCH) * 100 if 0 < value < 1 << 63 else old)
    try:
        os.utime(found.fd, ns=(values[0], values[1]))
    except (OSError, OverflowError):
        return system.fail(87)
    return 1


# -- making, moving, taking away ------------------------------------------------------------------


@KERNEL32.both("CreateDirectory", "tp")
def create_directory(system: System, _wide: bool, name: str, _sa: int) -> int:
    path = system.path(name or "")
    if path is None:
        return system.fail(5 if name else 3)
    try:
        os.mkdir(path)
    except OSError as error:
        if error.errno == 17:
            return system.fail(183)
        return system.fail(3) if error.errno == 2 else failed(system, error)
    return 1


@KERNEL32.both("CreateDirectoryEx", "ttp")
def create_directory_ex(system: System, wide: bool, _like: str, name: str, sa: int) -> int:
    return int(create_directory(system, wide, name, sa))


@KERNEL32.both("RemoveDirectory", "t")
def remove_directory(system: System, _wide: bool, name: str) -> int:
    path = system.path(name or "")
    if path is None or path == system.root:
        return system.fail(5 if name else 3)
    try:
        os.rmdir(path)
    except OSError as error:
        known = {20: 267, 39: 145}.get(error.errno or 0)
        return system.fail(known) if known else failed(system, error)
    return 1


@KERNEL32.both("DeleteFile", "t")
def delete_file(system: System, _wide: bool, name: str) -> int:
    found = _status(system, name)
    if found is None:
        return 0
    path, status = found
    if stat.S_ISDIR(status.st_mode) or not status.st_mode & 0o222:
        return system.fail(5)
    if not system.may_share(status, 4, 7):
        return system.fail(32)
    try:
        os.unlink(path)
    except OSError as error:
        return failed(system, error)
    return 1


@KERNEL32.both("MoveFile", "tt")
def move_file(system: System, wide: bool, old: str, new: str) -> int:
    return int(move_file_ex(system, wide, old, new, 2))


@KERNEL32.both("MoveFileEx", "ttu")
def move_file_ex(system: System, _wide: bool, old: str, new: str, flags: int) -> int:
    found = _status(system, old)
    if found is None:
        return 0
    if new is None:  # delay until the next start: there is none
        return 1 if flags & 4 else system.fail(87)
    target = system.path(new)
    if target is None or found[0] == system.root:
        return system.fail(5)
    same = os.path.exists(target) and os.path.samefile(found[0], target)
    if os.path.exists(target) and not same:
        if not flags & 1:
            return system.fail(183)
        if os.path.isdir(target) or not os.stat(target).st_mode & 0o222:
            return system.fail(5)
        if not system.may_share(os.stat(target), 4, 7):
            return system.fail(5)
    if same:  # only its case changes
        target = os.path.join(os.path.dirname(target), full_name(new, system.directory).rpartition("\\")[2])  # fmt: skip
    if not system.may_share(found[1], 4, 7):
        return system.fail(32)
    try:
        os.rename(found[0], target)
    except OSError as error:
        return system.fail(3) if error.errno == 2 else failed(system, error)
    return 1


@KERNEL32.both("CopyFile", "ttu")
def copy_file(system: System, _wide: bool, old: str, new: str, keep: int) -> int:
    import shutil

    found = _status(system, old)
    if found is None:
        return 0
    target = system.path(new or "")
    if target is None or stat.S_ISDIR(found[1].st_mode) or os.path.isdir(target):
        return system.fail(5)
    if os.path.exists(target):
        if keep:
            return system.fail(80)
        if os.path.samefile(found[0], target):
            return system.fail(32)
        if not os.stat(target).st_mode & 0o222:
            return system.fail(5)
    try:
        shutil.copyfile(found[0], target)
        shutil.copystat(found[0], target)
    except OSError as error:
        return failed(system, error)
    return 1


@KERNEL32.both("CopyFileEx", "ttpppu")
def copy_file_ex(system: System, wide: bool, old: str, new: str, _progress: int, _data: int, _stop: int, flags: int) -> int:  # fmt: skip
    return int(copy_file(system, wide, old, new, flags & 1))


@KERNEL32.both("ReplaceFile", "tttupp")
def replace_file(system: System, wide: bool, old: str, new: str, kept: str, _flags: int, _a: int, _b: int) -> int:  # fmt: skip
    if _status(system, old) is None or _status(system, new) is None:
        return 0
    if kept and not move_file_ex(system, wide, old, kept, 1):
        return 0
    return int(move_file_ex(system, wide, new, old, 1))


@KERNEL32.both("CreateHardLink", "ttp")
def create_hard_link(system: System, _wide: bool, new: str, old: str, _sa: int) -> int:
    found = _status(system, old)
    target = system.path(new or "")
    if found is None or target is None:
        return 0 if found is None else system.fail(5)
    try:
        os.link(found[0], target)
    except OSError as error:
        return system.fail(183) if error.errno == 17 else failed(system, error)
    return 1


# -- drives ---------------------------------------------------------------------------------------


@KERNEL32("GetLogicalDrives")
def get_logical_drives(_system: System) -> int:
    return 1 << 2 | 1 << 25


@KERNEL32.both("GetLogicalDriveStrings", "up")
def get_logical_drive_strings(system: System, wide: bool, room: int, out: int) -> int:
    text = "C:\\\0Z:\\\0"
    if room < len(text) + 1:
        return len(text) + 1
    return system.put_string(wide, out, room, text)


@KERNEL32.both("GetDriveType", "t")
def get_drive_type(system: System, _wide: bool, name: str) -> int:
    drive = (name or system.directory)[:2].lower()
    return 3 if drive in ("c:", "z:") else 1  # DRIVE_FIXED, DRIVE_NO_ROOT_DIR


@KERNEL32.both("GetDiskFreeSpaceEx", "tppp")
def get_disk_free_space_ex(system: System, _wide: bool, _name: str, mine: int, total: int, free: int) -> int:  # fmt: skip
    status = os.statvfs(system.root)
    for place, blocks in ((mine, status.f_bavail), (total, status.f_blocks), (free, status.f_bfree)):  # fmt: skip
        if place:
            system.put(place, blocks * status.f_frsize, 8)
    return 1


@KERNEL32.both("GetDiskFreeSpace", "tpppp")
def get_disk_free_space(system: System, _wide: bool, _name: str, sectors: int, size: int, free: int, total: int) -> int:  # fmt: skip
    status = os.statvfs(system.root)
    scale = max(status.f_frsize // 512, 1)
    for place, value in ((sectors, scale), (size, 512), (free, status.f_bavail), (total, status.f_blocks)):  # fmt: skip
        if place:
            system.put(place, min(value, 0xFFFFFFFF), 4)
    return 1


@KERNEL32.both("GetVolumeInformation", "tpupppp" + "u")
def get_volume_information(system: System, wide: bool, _root: str, name: int, room: int, serial: int, longest: int, flags: int, kind: int, kind_room: int) -> int:  # fmt: skip
    if name:
        system.put_string(wide, name, room, "")
    for place, value in ((serial, 0x12345678), (longest, 255), (flags, 0x6)):
        if place:
            system.put(place, value, 4)
    if kind:
        system.put_string(wide, kind, kind_room, "NTFS")
    return 1

"""KERNEL32.dll: what becomes of a file by its handle, and what few programs ask of files, volumes and consoles."""

from __future__ import annotations

import os
import stat

from rtld.backends.windows import fileinfo
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_files import INVALID, create_file, open_file
from rtld.backends.windows.paths import full_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

#: STATUS_* -> error of Win32
_ERRORS = {0xC0000022: 5, 0xC000000D: 87, 0xC0000002: 50, 0xC0000004: 24, 0x80000005: 234, 0xC0000034: 2, 0xC000003A: 3,
           0xC0000035: 183, 0xC0000101: 145, 0x80000006: 18, 0xC0000043: 32, 0xC00000BA: 5, 0xC0000103: 267, 0xC0000121: 5,
           0xC000000F: 2, 0xC000007F: 112}  # fmt: skip
_LISTINGS, _RESTART = (10, 11, 14, 15, 19, 20), (11, 15, 20)
_OF_FILES = (2, 7, 9, 18, *_LISTINGS)


def error_of(status: int) -> int:
    """The error of Win32 for a status."""
    return _ERRORS.get(status, 31)


@KERNEL32("SetFileInformationByHandle", "pupu")
def set_file_information_by_handle(system: System, handle: int, kind: int, at: int, size: int) -> int:  # fmt: skip
    found = system.handle(handle, "file")
    if found is None:
        return 0
    status = fileinfo.change(system, found, fileinfo.CLASSES.get(kind, -1), at, size)
    return system.fail(error_of(status)) if status else 1


@KERNEL32("GetFileInformationByHandleEx", "pupu")
def get_file_information_by_handle_ex(system: System, handle: int, kind: int, out: int, room: int) -> int:  # fmt: skip
    found = system.handle(handle, "file", *(() if kind in _OF_FILES else ("stream", "pipe")))
    if found is None:
        return 0
    known = fileinfo.CLASSES.get(kind, -1)
    if kind in _LISTINGS:
        if not stat.S_ISDIR(os.fstat(found.fd).st_mode):
            return system.fail(87)
        status, data = fileinfo.listing(system, found, known, room, single=False, restart=kind in _RESTART)  # fmt: skip
        if status:
            return system.fail(error_of(status))
    else:
        data = fileinfo.about(system, found, known) or b""
        if not data:
            return system.fail(38 if known == 22 else 87)
        if room < len(data):
            if kind == 2 and room >= 4:
                system.memory.write(out, data[:room])
            return system.fail(234 if kind in (2, 7) else 24)
    system.memory.write(out, data)
    return 1


@KERNEL32("CreateFile2", "wuuup", "p")
def create_file2(system: System, name: str, access: int, share: int, how: int, parameters: int) -> Any:  # fmt: skip
    flags = security = 0
    if parameters:  # CREATEFILE2_EXTENDED_PARAMETERS
        flags = system.number(parameters + 4, 4) | system.number(parameters + 8, 4)
        security = system.number(parameters + 16)
    return create_file(system, True, name, access, share, security, how, flags, 0)


@KERNEL32("ReOpenFile", "puuu", "p")
def re_open_file(system: System, handle: int, access: int, share: int, flags: int) -> int:
    found = system.handle(handle, "file")
    if found is None:
        return INVALID
    wanted = (1 if access & 0xB0000021 else 0) | (2 if access & 0x50000006 else 0)
    return open_file(system, found.path, wanted | (4 if access & 0x10010000 else 0), share, 3, flags)  # fmt: skip


@KERNEL32.both("CreateSymbolicLink", "ttu")
def create_symbolic_link(system: System, _wide: bool, *_: object) -> int:
    return system.fail(1314)  # ERROR_PRIVILEGE_NOT_HELD, as for every ordinary user


@KERNEL32("ReadDirectoryChangesW", "ppuiuppp")
def read_directory_changes(system: System, *_: int) -> int:
    return system.fail(1)


@KERNEL32.both("GetVolumePathName", "tpu")
def get_volume_path_name(system: System, wide: bool, name: str, out: int, room: int) -> int:
    root = full_name(name or "", system.directory)[:2] + "\\"
    if room <= len(root):
        return system.fail(206)
    system.put_string(wide, out, room, root)
    return 1


@KERNEL32("GetVolumeInformationByHandleW", "ppuppppu")
def get_volume_information_by_handle(system: System, handle: int, *places: int) -> int:
    if system.handle(handle, "file") is None:
        return 0
    return int(KERNEL32.find("GetVolumeInformationW").action(system, "", *places))


@KERNEL32.both("QueryDosDevice", "tpu")
def query_dos_device(system: System, wide: bool, name: str, out: int, room: int) -> int:
    drive = (name or "").upper()
    if drive not in ("C:", "Z:"):
        return system.fail(2)
    text = f"\\Device\\HarddiskVolume{1 + (drive == 'Z:')}\0"
    if room < len(text) + 1:
        return system.fail(122)
    system.put_string(wide, out, room, text)
    return len(text) + 1


@KERNEL32.both("GetBinaryType", "tp")
def get_binary_type(system: System, _wide: bool, name: str, out: int) -> int:
    path = system.path(name or "")
    if path is None or not os.path.exists(path):
        return system.fail(2)
    if not hasattr(system.loader, "is_program") or not system.loader.is_program(path):
        return system.fail(193)
    system.put(out, 6 if system.bits == 64 else 0, 4)
    return 1


@KERNEL32.both("NeedCurrentDirectoryForExePath", "t")
def need_current_directory_for_exe_path(_system: System, _wide: bool, _name: str) -> int:
    return 1


@KERNEL32("GetTimeZoneInformationForYear", "upp")
def get_time_zone_information_for_year(system: System, _year: int, _dynamic: int, out: int) -> int:
    KERNEL32.find("GetTimeZoneInformation").action(system, out)
    return 1


# -- consoles: there is none but a terminal --------------------------------------------------------


@KERNEL32("FillConsoleOutputAttribute", "puuup")
@KERNEL32("FillConsoleOutputCharacterA FillConsoleOutputCharacterW", "puuup")
@KERNEL32("SetConsoleCursorInfo GetConsoleCursorInfo", "pp")
@KERNEL32("ScrollConsoleScreenBufferA ScrollConsoleScreenBufferW", "pppup")
@KERNEL32("WriteConsoleOutputA WriteConsoleOutputW", "ppuup")
@KERNEL32("SetConsoleActiveScreenBuffer", "p")
@KERNEL32("WriteConsoleInputA WriteConsoleInputW", "ppup")
def no_console(system: System, *_: int) -> int:
    return system.fail(6)


@KERNEL32("CreateConsoleScreenBuffer", "uupup", "p")
def create_console_screen_buffer(system: System, *_: int) -> int:
    return system.fail(6, INVALID)

"""Names of files: Windows' rules for full names, and which of our files one stands for.

C: is the directory that the program may see, Z: the whole disk, of which it may see the same directory only. Names are
looked up as they are written, then without case ("Naming Files, Paths, and Namespaces", learn.microsoft.com).
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

MAX_PATH = 260
EPOCH = 116444736000000000  # 1970 in 100 ns since 1601
READONLY, HIDDEN, DIRECTORY, ARCHIVE, NORMAL = 0x1, 0x2, 0x10, 0x20, 0x80
_DEVICES = {"nul": "/dev/null", "con": "", "aux": "", "prn": "", "conin$": "", "conout$": ""}
_MOST_NAMES = 1 << 16


def device(name: str) -> str | None:
    """The device that a name stands for, whatever directory is before it: ``"nul"``, ...; None when it is a file's."""
    if name.startswith(("\\\\.\\", "//./")):
        name = name[4:]
    last = name.replace("/", "\\").rpartition("\\")[2].rstrip(" .:").partition(".")[0].rstrip(" ")
    lower = last.lower()
    return lower if lower in _DEVICES else None


def full_name(name: str, current: str) -> str:
    """The full name, ``X:\\...``, of one that may be relative to the directory ``current``; as GetFullPathName."""
    name = name.replace("/", "\\")
    name = name.removeprefix("\\\\?\\")
    found = device(name)
    if found is not None and "\\" not in name.rstrip(":"):
        return "\\\\.\\" + name.rstrip(" .:")
    if name.startswith("\\\\"):
        return name
    if name[1:2] == ":":
        drive, rest = name[:2], name[2:]
        if not rest.startswith("\\"):
            rest = (current[2:] if drive.lower() == current[:2].lower() else "") + "\\" + rest
    else:
        drive = current[:2]
        rest = name if name.startswith("\\") else current[2:] + "\\" + name
    parts: list[str] = []
    pieces = rest.split("\\")
    for number, piece in enumerate(pieces):
        if piece in ("", "."):
            continue
        if piece == "..":
            if parts:
                parts.pop()
            continue
        last = number == len(pieces) - 1
        shown = piece
        if piece.strip("."):  # "..." is a name
            shown = piece.rstrip(" .") if last else piece.removesuffix(".")
        if shown:
            parts.append(shown)
    slash = "\\" if parts and pieces[-1] == "" else ""
    return drive + "\\" + "\\".join(parts) + slash


def host_path(system: System, name: str) -> str | None:
    """Our file behind a name, links followed; None when it leads out of the root that the program may see."""
    full = full_name(name, system.directory)
    if full.startswith("\\\\") or "\0" in full:
        return None
    drive, parts = full[0].lower(), [p for p in full[3:].split("\\") if p]
    if parts and parts[-1].upper().endswith("::$DATA"):  # the stream that a file is
        parts[-1] = parts[-1][: -len("::$DATA")]
    if drive not in "cz" or any(":" in part or part in ("", ".", "..") for part in parts):
        return None
    at = "/" if drive == "z" else system.root
    for number, part in enumerate(parts):
        following = os.path.join(at, part)
        if not os.path.lexists(following):
            other = _without_case(at, part)
            if other is None:
                at = os.path.join(at, *parts[number:])
                break
            following = os.path.join(at, other)
        at = following
    at = os.path.realpath(at)
    return at if system.sees(at) else None


def _without_case(directory: str, name: str) -> str | None:
    lower = name.lower()
    try:
        with os.scandir(directory) as entries:
            for number, entry in enumerate(entries):
                if entry.name.lower() == lower:
                    return entry.name
                if number > _MOST_NAMES:
                    break
    except OSError:
        pass
    return None


def windows_name(system: System, path: str) -> str:
    """What the program calls a file of ours."""
    root = system.root.rstrip("/") + "/"
    if path == system.root or path.startswith(root):
        return "C:\\" + path[len(root) :].replace("/", "\\")
    return "Z:" + path.replace("/", "\\")


def filetime(nanoseconds: int) -> int:
    """FILETIME of a time since 1970: 100 ns since 1601."""
    return nanoseconds // 100 + EPOCH


def attributes(path: str, status: os.stat_result) -> int:
    """FILE_ATTRIBUTE_* of a file."""
    result = DIRECTORY if stat.S_ISDIR(status.st_mode) else ARCHIVE
    if not status.st_mode & 0o222:
        result |= READONLY
    name = os.path.basename(path)
    if name.startswith(".") and name not in (".", ".."):
        result |= HIDDEN
    return result


def times(status: os.stat_result) -> tuple[int, int, int]:
    """Created (the older of change and modification, as nothing else is known), read, written: FILETIMEs."""
    made = min(status.st_mtime_ns, status.st_ctime_ns)
    return filetime(made), filetime(status.st_atime_ns), filetime(status.st_mtime_ns)

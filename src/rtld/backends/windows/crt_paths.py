"""msvcrt.dll: files by name, the current directory, names and their parts."""

from __future__ import annotations

import os
import stat as modes

from rtld.backends.windows.crt_files import text_of
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.msvcrt import MSVCRT, failed
from rtld.backends.windows.paths import attributes, full_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import System


def _by_name(names: str, wide: str, change: Callable[[str], None]) -> None:
    def action(system: System, name: Any) -> int:
        path = system.path(text_of(name)) if name else None
        if path is None:
            return failed(system, 13 if name else 2, -1)
        try:
            change(path)
        except OSError as error:
            return failed(system, error.errno or 0, -1)
        return 0

    MSVCRT(names, "s", "i")(action)
    MSVCRT(wide, "w", "i")(action)


def _unlink(path: str) -> None:
    status = os.stat(path)
    if modes.S_ISDIR(status.st_mode) or not status.st_mode & 0o222:
        raise OSError(13, "")
    os.unlink(path)


def _rmdir(path: str) -> None:
    if os.path.exists(path) and not os.path.isdir(path):
        raise OSError(22, "")
    os.rmdir(path)


_by_name("remove _unlink unlink", "_wremove _wunlink", _unlink)
_by_name("_mkdir mkdir", "_wmkdir", os.mkdir)
_by_name("_rmdir rmdir", "_wrmdir", _rmdir)


@MSVCRT("rename", "ss", "i")
@MSVCRT("_wrename", "ww", "i")
def rename(system: System, old: Any, new: Any) -> int:
    source, target = system.path(text_of(old)), system.path(text_of(new))
    if source is None or target is None:
        return failed(system, 13, -1)
    if os.path.exists(target) and os.path.exists(source):
        return failed(system, 17, -1)
    try:
        os.rename(source, target)
    except OSError as error:
        return failed(system, error.errno or 0, -1)
    return 0


@MSVCRT("_access access", "si", "i")
@MSVCRT("_waccess", "wi", "i")
def access(system: System, name: Any, mode: int) -> int:
    path = system.path(text_of(name)) if name else None
    if path is None or not os.path.exists(path):
        return failed(system, 2, -1)
    if mode & 2 and attributes(path, os.stat(path)) & 1:
        return failed(system, 13, -1)
    return 0


@MSVCRT("_access_s", "si", "i")
@MSVCRT("_waccess_s", "wi", "i")
def access_s(system: System, name: Any, mode: int) -> int:
    done = access(system, name, mode)
    return 0 if not done else int(system.number(int(MSVCRT.functions["_errno"].action(system)), 4))


@MSVCRT("_chmod", "si", "i")
@MSVCRT("_wchmod", "wi", "i")
def chmod(system: System, name: Any, mode: int) -> int:
    path = system.path(text_of(name))
    try:
        os.chmod(path or "", 0o644 if mode & 0o200 else 0o444)
    except OSError as error:
        return failed(system, error.errno or 0, -1)
    return 0


@MSVCRT("_umask _umask_s", "i", "i")
def umask(_system: System, _mode: int) -> int:
    return 0


@MSVCRT("_getcwd getcwd", "pi", "p")
def getcwd(system: System, out: int, room: int) -> int:
    data = system.directory.encode("latin-1", "replace") + b"\0"
    if not out:
        out = system.heap.allocate(max(len(data), room))
    elif room < len(data):
        return failed(system, 34, 0)
    system.memory.write(out, data)
    return out


@MSVCRT("_wgetcwd", "pi", "p")
def wgetcwd(system: System, out: int, room: int) -> int:
    data = (system.directory + "\0").encode("utf-16-le")
    if not out:
        out = system.heap.allocate(max(len(data), 2 * room))
    elif 2 * room < len(data):
        return failed(system, 34, 0)
    system.memory.write(out, data)
    return out


@MSVCRT("_chdir chdir", "s", "i")
@MSVCRT("_wchdir", "w", "i")
def chdir(system: System, name: Any) -> int:
    done = KERNEL32.functions["SetCurrentDirectoryW"].action(system, text_of(name))
    return 0 if done else failed(system, 2, -1)


@MSVCRT("_getdrive", "", "i")
def getdrive(system: System) -> int:
    return ord(system.directory[0].upper()) - ord("A") + 1


@MSVCRT("_fullpath", "psp", "p")
def fullpath(system: System, out: int, name: bytes, room: int) -> int:
    data = full_name(text_of(name), system.directory).encode("latin-1", "replace") + b"\0"
    if not out:
        out = system.heap.allocate(len(data))
    elif room < len(data):
        return failed(system, 34, 0)
    system.memory.write(out, data)
    return out


def _parts(path: str) -> tuple[str, str, str, str]:
    """Drive, directory, name and extension of a path, as they stand there."""
    drive, rest = (path[:2], path[2:]) if path[1:2] == ":" else ("", path)
    end = max(rest.rfind("\\"), rest.rfind("/")) + 1
    directory, name = rest[:end], rest[end:]
    dot = name.rfind(".")
    return (drive, directory, name, "") if dot < 0 else (drive, directory, name[:dot], name[dot:])


@MSVCRT("_splitpath", "spppp", "v")
@MSVCRT("_wsplitpath", "wpppp", "v")
def splitpath(system: System, path: Any, *places: int) -> None:
    for place, text in zip(places, _parts(text_of(path)), strict=True):
        if place:
            system.put_text(place, text.encode("latin-1") if isinstance(path, bytes) else text, 260)


@MSVCRT("_splitpath_s", "spppppppp", "i")
@MSVCRT("_wsplitpath_s", "wpppppppp", "i")
def splitpath_s(system: System, path: Any, *places: int) -> int:
    for place, room, text in zip(places[::2], places[1::2], _parts(text_of(path)), strict=True):
        if place:
            if len(text) + 1 > room:
                return failed(system, 34, 34)
            system.put_text(place, text.encode("latin-1") if isinstance(path, bytes) else text, room)  # fmt: skip
    return 0


@MSVCRT("_makepath", "pssss", "v")
@MSVCRT("_wmakepath", "pwwww", "v")
def makepath(system: System, out: int, drive: Any, directory: Any, name: Any, ending: Any) -> None:
    wide = any(isinstance(x, str) for x in (drive, directory, name, ending))
    drive, directory, name, ending = (text_of(x) for x in (drive, directory, name, ending))
    text = drive[:1] + ":" if drive else ""
    text += directory + ("\\" if directory and directory[-1] not in "\\/" else "") + name
    text += ("" if not ending or ending[0] == "." else ".") + ending
    system.put_text(out, text if wide else text.encode("latin-1", "replace"), 260)

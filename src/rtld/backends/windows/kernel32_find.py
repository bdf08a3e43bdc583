"""KERNEL32.dll: what is in a directory."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct

from rtld.backends.windows.codepages import ANSI
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_files import INVALID, failed
from rtld.backends.windows.paths import DIRECTORY, MAX_PATH, attributes, full_name, times
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

_MOST_ENTRIES = 1 << 20


def pattern(mask: str) -> re.Pattern[str]:
    if mask == "*.*":
        mask = "*"
    if mask.endswith("*."):  # names without a dot
        return re.compile(re.escape(mask[:-2]).replace(r"\*", ".*").replace(r"\?", ".") + r"[^.]*\Z", re.IGNORECASE | re.DOTALL)  # fmt: skip
    text = re.escape(mask).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(text + r"\Z", re.IGNORECASE | re.DOTALL)


def _found(system: System, wide: bool, out: int, entry: tuple[str, str]) -> None:
    """WIN32_FIND_DATA of (name, path)."""
    name, path = entry
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode) and system.sees(
        os.path.realpath(path)
    ):  # else only the link is told of
        with contextlib.suppress(OSError):
            status = os.stat(path)
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    found = DIRECTORY if name in (".", "..") else attributes(path, status)
    data = struct.pack("<I3Q4I", found, *times(status), size >> 32, size & 0xFFFFFFFF, 0, 0)
    if wide:
        text = name.encode("utf-16-le", "surrogatepass")[: 2 * MAX_PATH - 2]
        data += text.ljust(2 * MAX_PATH, b"\0") + bytes(28)
    else:
        data += name.encode(ANSI, "replace")[: MAX_PATH - 1].ljust(MAX_PATH, b"\0") + bytes(14)
    system.memory.write(out, data)


@KERNEL32.both("FindFirstFile", "tp", "p")
def find_first_file(system: System, wide: bool, name: str, out: int) -> int:
    if not name:
        return system.fail(3, INVALID)
    full = full_name(name, system.directory)
    folder, _, mask = full.rpartition("\\")
    if not mask or name.endswith(("\\", "/")):
        return system.fail(2, INVALID)
    raw = name.replace("/", "\\").rpartition("\\")[2]
    mask = raw if raw.endswith(".") and "*" in raw else mask
    directory = system.path(folder + "\\")
    if directory is None or not os.path.isdir(directory):
        return system.fail(3, INVALID)
    try:
        names = os.listdir(directory)[:_MOST_ENTRIES]
    except OSError as error:
        return failed(system, error, INVALID)
    wanted = pattern(mask)
    names = [".", "..", *sorted(names, key=str.upper)]
    entries = [(n, directory if n in (".", "..") else os.path.join(directory, n)) for n in names if wanted.match(n)]  # fmt: skip
    entries = [e for e in entries if os.path.lexists(e[1])]
    if not entries:
        return system.fail(2, INVALID)
    _found(system, wide, out, entries[0])
    return system.add(Handle("find", entries=iter(entries[1:])))


@KERNEL32.both("FindFirstFileEx", "tupupu", "p")
def find_first_file_ex(system: System, wide: bool, name: str, level: int, out: int, _op: int, _filter: int, _flags: int) -> int:  # fmt: skip
    if level > 1:
        return system.fail(87, INVALID)
    return int(find_first_file(system, wide, name, out))


@KERNEL32.both("FindNextFile", "pp")
def find_next_file(system: System, wide: bool, handle: int, out: int) -> int:
    found = system.handle(handle, "find")
    if found is None:
        return 0
    for entry in found.entries:
        if os.path.lexists(entry[1]):
            _found(system, wide, out, entry)
            return 1
    return system.fail(18)


@KERNEL32("FindClose", "p")
def find_close(system: System, handle: int) -> int:
    if system.handle(handle, "find") is None:
        return 0
    del system.handles[handle]
    return 1

"""The resource directory, as far as manifests need it: a tree of three levels, type, name, language ("PE Format", .rsrc)."""

from __future__ import annotations

import struct

from rtld.pe.types import RESOURCE, RT_MANIFEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.pe.file import PeFile

_WHAT = "resource directory"
_DIRECTORY = struct.Struct("<IIHHHH")
_ENTRY = struct.Struct("<II")
_DATA = struct.Struct("<IIII")
_MAX_ENTRIES = 1 << 16
_MAX_MANIFEST = 1 << 20


def resources(file: PeFile, kind: int) -> Iterator[tuple[int, int, bytes]]:
    """(id, language, bytes) of every resource of a type; -1 for an id that is a name."""
    directory = file.directory(RESOURCE)
    if directory is None:
        return
    base = directory.rva
    for type_id, types, below in _entries(file, base, 0):
        if type_id != kind or not below:
            continue
        for number, names, below_name in _entries(file, base, types):
            if not below_name:
                continue
            for language, leaf, deeper in _entries(file, base, names):
                if deeper:
                    file.complain(_WHAT, "level", 4, "at most 3")
                    continue
                rva, size, _, _ = _DATA.unpack(file.read(base + leaf, _DATA.size, _WHAT))
                if size > _MAX_MANIFEST:
                    file.complain(_WHAT, "Size", size, f"at most {_MAX_MANIFEST:#x}")
                    continue
                yield number, language, file.read(rva, size, f"{_WHAT}, data")


def _entries(file: PeFile, base: int, offset: int) -> list[tuple[int, int, bool]]:
    """(id, offset of what is below, whether that is a directory) of each entry of a directory."""
    *_, named, numbered = _DIRECTORY.unpack(file.read(base + offset, _DIRECTORY.size, _WHAT))
    count = named + numbered
    if count > _MAX_ENTRIES:
        raise file.fail(_WHAT, "NumberOfEntries", count, f"at most {_MAX_ENTRIES}")
    rows = file.read(base + offset + _DIRECTORY.size, count * _ENTRY.size, f"{_WHAT}, entries")
    return [
        (-1 if name >> 31 else name, at & 0x7FFFFFFF, bool(at >> 31))
        for name, at in _ENTRY.iter_unpack(rows)
    ]


def manifest(file: PeFile) -> bytes | None:
    """The manifest that the loader would read: of a program number 1, of a DLL number 2, 1 or 3; None without one."""
    found = file.cache.get("manifest", False)
    if found is False:
        wanted = (2, 1, 3) if file.is_dll else (1, 2, 3)
        by_id: dict[int, bytes] = {}
        for number, _, data in resources(file, RT_MANIFEST):
            by_id.setdefault(number, data)
        found = next((by_id[n] for n in wanted if n in by_id), None)
        file.cache["manifest"] = found
    return found  # type: ignore[return-value]

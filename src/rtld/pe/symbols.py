"""The COFF symbol table that compilers of GNU leave in an image, and names of addresses ("PE Format", COFF symbol table).

Microsoft's tools put symbols into files of their own; then the exports are all there is.
"""

from __future__ import annotations

import bisect
import struct

from rtld.errors import FormatError
from rtld.pe.exports import exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.file import PeFile

_ENTRY = struct.Struct("<8sIhHBB")
_MOST = 1 << 22
_FUNCTION = 0x20  # Type, high nibble: a function
_EXTERNAL, _STATIC = 2, 3  # StorageClass
_FARTHEST = 1 << 20  # bytes behind a symbol that it is still named for


def symbols(file: PeFile) -> tuple[list[int], list[str]]:
    """(RVAs, names) of what has a name, sorted; decoded once. What is malformed in it is left out."""
    found = file.cache.get("symbols")
    if found is None:
        pairs = sorted({*_coff(file), *_exported(file)})
        found = file.cache["symbols"] = [p[0] for p in pairs], [p[1] for p in pairs]
    return found  # type: ignore[return-value]


def symbol_before(file: PeFile, rva: int) -> tuple[str, int] | None:
    """(name, distance) of the symbol that an address is at or behind; None when there is none near."""
    places, names = symbols(file)
    at = bisect.bisect_right(places, rva) - 1
    if at < 0 or rva - places[at] > _FARTHEST:
        return None
    return names[at], rva - places[at]


def _exported(file: PeFile) -> list[tuple[int, str]]:
    try:
        table = exports(file)
        forwarded = table.forwarders()
        names = table.names_of()
    except FormatError:
        return []
    return [
        (table.functions.item(index), name.decode("utf-8", "surrogateescape"))
        for index, name in names.items()
        if index < len(forwarded) and not forwarded[index]
    ]


def _coff(file: PeFile) -> list[tuple[int, str]]:
    """Functions of the symbol table; empty without one."""
    start, count = struct.unpack_from("<II", file.data, file.nt_offset + 12)
    end = start + _ENTRY.size * count
    if not start or not count or count > _MOST or end > file.size:
        return []
    addresses = [s.address for s in file.sections[1:]]
    result = []
    skip = 0
    for raw, value, section, kind, storage, auxiliary in _ENTRY.iter_unpack(file.data[start:end]):
        if skip:
            skip -= 1
            continue
        skip = auxiliary
        if kind != _FUNCTION or storage not in (_EXTERNAL, _STATIC) or not 0 < section <= len(addresses):  # fmt: skip
            continue
        name = raw.rstrip(b"\0")
        if raw[:4] == b"\0\0\0\0":
            at = end + int.from_bytes(raw[4:], "little")
            stop: int = file.find(b"\0", at, at + 4096)
            name = bytes(file.data[at:stop]) if at < stop else b""
        if name:
            text = name.decode("utf-8", "surrogateescape")
            result.append((addresses[section - 1] + value, text[1:] if file.bits == 32 else text))
    return result

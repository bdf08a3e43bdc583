"""The versions a file needs and defines, read with ``struct`` alone (LSB core, 10.7, "Symbol Versioning").

No numpy: ``rtld ldd`` asks for them too.
"""

from __future__ import annotations

import struct

from rtld.elf.types import (
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    VER_FLG_BASE,
    VER_FLG_WEAK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.file import ElfFile

_LIMIT = 0x8000  # 15 bits of index: more entries than that can only be a loop


class VersionNeed:
    """One vernaux: the file it is expected in, the version's name, its index, VER_FLG_WEAK."""

    __slots__ = ("file", "hidden", "index", "name", "weak")

    def __init__(self, file: bytes, name: bytes, index: int, hidden: bool, weak: bool) -> None:
        self.file = file
        self.name = name
        self.index = index
        self.hidden = hidden
        self.weak = weak


class VersionDef:
    """One verdef: name, index, base flag, parents."""

    __slots__ = ("base", "hidden", "index", "name", "parents", "weak")

    def __init__(
        self,
        name: bytes,
        index: int,
        hidden: bool,
        base: bool,
        weak: bool,
        parents: tuple[bytes, ...],
    ) -> None:
        self.name = name
        self.index = index
        self.hidden = hidden
        self.base = base
        self.weak = weak
        self.parents = parents


def needed_versions(file: ElfFile) -> list[VersionNeed]:
    """DT_VERNEED, in the order of the table."""
    result: list[VersionNeed] = []
    dynamic = file.dynamic
    if dynamic is None or DT_VERNEED not in dynamic:
        return result
    need, aux = struct.Struct(file.order + "HHIII"), struct.Struct(file.order + "IHHII")
    data, text = file.data, file.string_bytes
    at = file.file_offset(dynamic[DT_VERNEED], 16, "DT_VERNEED")
    last = file.load_end(at) - 16
    left = min(dynamic.get(DT_VERNEEDNUM, _LIMIT) or 0, _LIMIT)
    while left > 0:
        left -= 1
        _check(file, "Verneed", at, last)
        version, count, name, first, step = need.unpack_from(data, at)
        if version != 1:
            raise file.fail("Verneed", "vn_version", version, 1)
        provider = text(name, "vn_file")
        entry = at + first
        for _ in range(count):
            if entry > last:
                _check(file, "Vernaux", entry, last)
            _hash, flags, other, label, hop = aux.unpack_from(data, entry)
            label_text, weak = text(label, "vna_name"), bool(flags & VER_FLG_WEAK)
            result.append(VersionNeed(provider, label_text, other & 0x7FFF, other > 0x7FFF, weak))
            if hop == 0:
                break
            entry += hop
        if len(result) > _LIMIT:
            raise file.fail("Vernaux", "number of entries", len(result), f"at most {_LIMIT}")
        if step == 0:
            break
        at += step
    return result


def defined_versions(file: ElfFile) -> list[VersionDef]:
    """DT_VERDEF, in the order of the table."""
    result: list[VersionDef] = []
    dynamic = file.dynamic
    if dynamic is None or DT_VERDEF not in dynamic:
        return result
    head, aux = struct.Struct(file.order + "HHHHIII"), struct.Struct(file.order + "II")
    data, text = file.data, file.string_bytes
    at = file.file_offset(dynamic[DT_VERDEF], 20, "DT_VERDEF")
    end = file.load_end(at)
    left = min(dynamic.get(DT_VERDEFNUM, _LIMIT) or 0, _LIMIT)
    total = 0
    while left > 0:
        left -= 1
        _check(file, "Verdef", at, end - 20)
        version, flags, index, count, _hash, first, step = head.unpack_from(data, at)
        if version != 1:
            raise file.fail("Verdef", "vd_version", version, 1)
        names = []
        entry = at + first
        for _ in range(count):
            _check(file, "Verdaux", entry, end - 8)
            label, hop = aux.unpack_from(data, entry)
            names.append(text(label, "vda_name"))
            if hop == 0:
                break
            entry += hop
        if not names:
            raise file.fail("Verdef", "vd_cnt", count, "at least 1")
        total += len(names)
        if total > _LIMIT:
            raise file.fail("Verdaux", "number of entries", total, f"at most {_LIMIT}")
        base, weak = bool(flags & VER_FLG_BASE), bool(flags & VER_FLG_WEAK)
        parents = tuple(names[1:])
        result.append(VersionDef(names[0], index & 0x7FFF, index > 0x7FFF, base, weak, parents))
        if step == 0:
            break
        at += step
    return result


def _check(file: ElfFile, what: str, at: int, last: int) -> None:
    if at > last:
        raise file.fail(what, "file offset", at, f"at most {last:#x}, inside its PT_LOAD")


def version_table(
    needs: list[VersionNeed], definitions: list[VersionDef]
) -> dict[int, tuple[bytes, bool]]:
    """Version index -> (name, hidden). The base definition, which is the file itself, has none."""
    table = {need.index: (need.name, need.hidden) for need in needs}
    for definition in definitions:
        if not definition.base:
            table[definition.index] = definition.name, definition.hidden
    return table

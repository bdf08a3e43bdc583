"""The versions a file needs and defines, read with ``struct`` alone: what ldd needs, without numpy.

Same tables and checks as ``tables.py``; gABI supplement "Symbol Versioning" (LSB core, 10.7).
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.elf.types import DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, VER_FLG_WEAK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.file import ElfFile

#: One vernaux: the file the version is expected in, its name, whether it may be absent.
Need = namedtuple("Need", "file version weak")

_LIMIT = 0x8000  # 15 bits of index: more entries than that can only be a loop


def needed_versions(file: ElfFile) -> list[Need]:
    """DT_VERNEED, in the order of the table."""
    dynamic = file.dynamic
    if dynamic is None or DT_VERNEED not in dynamic:
        return []
    need, aux = struct.Struct(file.order + "HHIII"), struct.Struct(file.order + "IHHII")
    result: list[Need] = []
    address, left = dynamic[DT_VERNEED], dynamic.get(DT_VERNEEDNUM, _LIMIT) or 0
    while left > 0:
        left -= 1
        version, count, name, first, step = need.unpack_from(
            file.data, file.file_offset(address, 16, "DT_VERNEED")
        )
        if version != 1:
            raise file.fail("Verneed", "vn_version", version, 1)
        provider = file.string(name, "vn_file")
        at = address + first
        for _ in range(count):
            _hash, flags, _other, label, hop = aux.unpack_from(
                file.data, file.file_offset(at, 16, "Vernaux")
            )
            result.append(
                Need(provider, file.string(label, "vna_name"), bool(flags & VER_FLG_WEAK))
            )
            if hop == 0:
                break
            at += hop
        if len(result) > _LIMIT:
            raise file.fail("Verneed", "number of entries", len(result), f"at most {_LIMIT}")
        if step == 0:
            break
        address += step
    return result


def defined_versions(file: ElfFile) -> set[str] | None:
    """The names DT_VERDEF defines; None when the file has no versions at all."""
    dynamic = file.dynamic
    if dynamic is None or DT_VERDEF not in dynamic:
        return None
    head = struct.Struct(file.order + "HHHHIII")
    result: set[str] = set()
    address, left = dynamic[DT_VERDEF], min(dynamic.get(DT_VERDEFNUM, _LIMIT) or 0, _LIMIT)
    while left > 0:
        left -= 1
        version, _flags, _index, count, _hash, first, step = head.unpack_from(
            file.data, file.file_offset(address, 20, "DT_VERDEF")
        )
        if version != 1:
            raise file.fail("Verdef", "vd_version", version, 1)
        if count:
            at = file.file_offset(address + first, 8, "Verdaux")
            (label,) = struct.unpack_from(file.order + "I", file.data, at)
            result.add(file.string(label, "vda_name"))
        if step == 0:
            break
        address += step
    return result

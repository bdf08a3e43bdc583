"""Tables of a small program in plain Python: importing numpy would cost more than everything that is done with them.

The columns are lists with the two methods of arrays that the loader uses, and the rules those of ``exports.py``,
``imports.py`` and ``image.py``. Whatever is out of the ordinary (a table that is large or malformed, an unusual base
relocation) makes them give up, and the columns of numpy do the work. ``tests/pe/test_small.py`` compares the two.
"""

from __future__ import annotations

import struct
import sys

from rtld.errors import FormatError
from rtld.pe.types import (
    BASERELOC,
    EXPORT,
    IMAGE_FILE_RELOCS_STRIPPED,
    IMAGE_REL_BASED_ABSOLUTE,
    IMAGE_REL_BASED_DIR64,
    IMAGE_REL_BASED_HIGHLOW,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rtld.pe.file import PeFile
    from rtld.pe.imports import Descriptor
    from rtld.pe.module import PeModule, PeNamespace, Table

_DIRECTORY = struct.Struct("<IIHHIIIIIII")
_MOST = 4096  # names, imports, base relocations; numpy is quicker above
_NOWHERE = 0x0BADBEEF


class GiveUp(Exception):
    """Something that is left to the columns of numpy."""


_preferred = [False]


def prefer() -> None:
    """From now on tables are read like this, as long as nobody imports numpy: for who runs a program and no more."""
    _preferred[0] = True


def wanted() -> bool:
    """Whether it is worth while."""
    return _preferred[0] and "numpy" not in sys.modules


class Column(list[int]):
    """A list with what the loader asks of an array."""

    __slots__ = ()

    def item(self, index: int) -> int:
        return list.__getitem__(self, index)

    def tolist(self) -> list[int]:
        return list(self)

    def __getitem__(self, index: Any) -> Any:
        found = list.__getitem__(self, index)
        return Column(found) if isinstance(index, slice) else found


def _table(file: PeFile, rva: int, count: int, letter: str, what: str) -> Column:
    if count > _MOST:
        raise GiveUp
    if not count:
        return Column()
    form = struct.Struct(f"<{count}{letter}")
    return Column(form.unpack_from(file.data, file.locate(rva, form.size, what)))


def _offset(file: PeFile, rva: int, size: int) -> int:
    """Where in the file an address stands. GiveUp when it has no such bytes."""
    for section in file.sections:
        if section.address <= rva and rva + size <= section.address + section.filled:
            return int(rva - section.address + section.offset)
    raise GiveUp


def read_exports(file: PeFile) -> tuple[Any, ...]:
    """(dll, rva, size, stamp, ordinal base, functions, ordinals, offsets of names) of an export directory. GiveUp."""
    directory = file.directory(EXPORT)
    if directory is None:
        return b"", 0, 0, 0, 0, Column(), Column(), Column()
    what = "export directory"
    try:
        at = file.locate(directory.rva, _DIRECTORY.size, what)
        _, stamp, _, _, name, base, functions, names, *places = _DIRECTORY.unpack_from(file.data, at)  # fmt: skip
        dll = file.string(name, what) if name else b""
        table = _table(file, places[0], functions, "I", what)
        rvas = _table(file, places[1], names, "I", what)
        ordinals = _table(file, places[2], names, "H", what)
    except FormatError:
        raise GiveUp from None
    if any(index >= functions for index in ordinals):
        raise GiveUp
    offsets = Column(_offset(file, rva, 1) for rva in rvas)
    return dll, directory.rva, directory.size, stamp, base, table, ordinals, offsets


def thunks(file: PeFile, rva: int, what: str) -> Column:
    """The look-up table at an address, without its zero. FormatError, GiveUp."""
    at, left = file.room(rva, what)
    word = file.bits // 8
    result = Column()
    for (value,) in struct.iter_unpack("<Q" if word == 8 else "<I", file.data[at : at + left // word * word]):  # fmt: skip
        if not value:
            break
        result.append(value)
        if len(result) > _MOST:
            raise GiveUp
    return result


def import_columns(file: PeFile, rows: Iterable[tuple[Descriptor, Any, int]]) -> tuple[Any, ...]:
    """(descriptors, descriptor, slot, ordinal, hint, offsets of names) of an import directory. GiveUp."""
    word = file.bits // 8
    flag = 1 << (file.bits - 1)
    descriptors: list[Descriptor] = []
    owner, slot, ordinal, hint, offsets = Column(), Column(), Column(), Column(), Column()
    for number, (descriptor, values, bias) in enumerate(rows):
        descriptors.append(descriptor._replace(first=len(owner), count=len(values)))
        for place, value in enumerate(values):
            owner.append(number)
            slot.append(descriptor.iat + word * place)
            if value & flag:
                ordinal.append(value & 0xFFFF)
                hint.append(-1)
                offsets.append(-1)
                continue
            at = _offset(file, value - bias, 3)
            ordinal.append(-1)
            hint.append(int.from_bytes(file.data[at : at + 2], "little"))
            offsets.append(at + 2)
    return descriptors, owner, slot, ordinal, hint, offsets


# -- images ---------------------------------------------------------------------------------------


def _places(file: PeFile) -> list[tuple[int, int]]:
    """(rva, width) of every base relocation. GiveUp."""
    directory = file.directory(BASERELOC)
    if directory is None or not directory.size:
        return []
    try:
        start, left = file.room(directory.rva, "base relocation directory")
    except FormatError:
        raise GiveUp from None
    end = min(directory.size, left)
    if directory.size > left or end > 4 * _MOST:
        raise GiveUp
    octets = bytes(file.data[start : start + end])
    result = []
    at = 0
    while at + 8 <= end:
        page, size = struct.unpack_from("<II", octets, at)
        if size < 8 or at + size > end:
            if page or size:
                raise GiveUp
            break
        for (entry,) in struct.iter_unpack("<H", octets[at + 8 : at + 8 + (size - 8) // 2 * 2]):
            kind = entry >> 12
            if kind == IMAGE_REL_BASED_ABSOLUTE:
                continue
            width = {IMAGE_REL_BASED_DIR64: 8, IMAGE_REL_BASED_HIGHLOW: 4}.get(kind)
            rva = page + (entry & 0xFFF)
            if width is None or rva + width > file.size_of_image:
                raise GiveUp
            result.append((rva, width))
        at += size
    return result


def build_image(ns: PeNamespace, module: PeModule) -> bytearray:
    """A module's memory at its base, its imports filled in; relocations are counted in ``ns``. GiveUp."""
    file = module.file
    image = bytearray(file.span)
    for section in file.sections:
        filled = min(section.filled, file.span - section.address)
        if filled > 0:
            image[section.address : section.address + filled] = file.data[section.offset : section.offset + filled]  # fmt: skip
    counts: dict[str, int] = {}
    delta = module.base - file.base
    if delta:
        if file.characteristics & IMAGE_FILE_RELOCS_STRIPPED:
            raise GiveUp
        for rva, width in _places(file):
            value = int.from_bytes(image[rva : rva + width], "little") + delta
            image[rva : rva + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
            name = "IMAGE_REL_BASED_DIR64" if width == 8 else "IMAGE_REL_BASED_HIGHLOW"
            counts[name] = counts.get(name, 0) + 1
        at, word = file.nt_offset + (48 if file.bits == 64 else 52), file.bits // 8
        image[at : at + word] = module.base.to_bytes(word, "little")
    for table in (module.table, module.delayed):
        if table is not None:
            _fill(ns, module, table, image)
    ns.counts[module] = counts
    return image


def _fill(ns: PeNamespace, module: PeModule, table: Table, image: bytearray) -> None:
    word = module.file.bits // 8
    for row, definer in enumerate(table.definer):
        slot = table.imports.slot.item(row)
        if not 0 <= slot <= len(image) - word:
            raise GiveUp
        value = ns.modules[definer].base + table.rva[row] if definer >= 0 else _NOWHERE
        image[slot : slot + word] = (value & (1 << 8 * word) - 1).to_bytes(word, "little")

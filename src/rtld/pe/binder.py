"""Writers of PE files: bind (fill the IAT beforehand), unbind, rebase (move the preferred base).

What ``bind.exe`` and ``rebase.exe`` of the SDK do, by the same rules: the bound import directory goes between the section
table and the first section; the checksum of the header is made anew where the file had one.
"""

from __future__ import annotations

import struct

import numpy as np

from rtld.errors import Unsupported
from rtld.pe import basereloc
from rtld.pe.bound import NEW_STYLE
from rtld.pe.image import map_image
from rtld.pe.imports import delay_imports, imports
from rtld.pe.types import (
    BASERELOC,
    BOUND_IMPORT,
    DELAY_IMPORT,
    IMAGE_DLLCHARACTERISTICS_NO_BIND,
    IMAGE_FILE_RELOCS_STRIPPED,
    IMPORT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.file import PeFile
    from rtld.pe.module import Edge, PeModule, PeNamespace

_PAGE = 0x1000
_READ_ONLY_DATA = 0x40000040


def bind(ns: PeNamespace, module: PeModule) -> bytes:
    """The file of a module that has been linked, with everything bound that could be. Unsupported when it cannot be."""
    file, table = module.file, module.table
    if file.dll_characteristics & IMAGE_DLLCHARACTERISTICS_NO_BIND:
        raise Unsupported(f"{file.name}: its header says that it must not be bound (NO_BIND)")
    assert table is not None
    data = bytearray(unbind(file))
    rows: list[tuple[str, int, list[tuple[str, int]]]] = []
    for number, edge in enumerate(table.edges):
        if edge.module is None or edge.descriptor.count == 0:
            continue
        place = edge.descriptor
        if not place.lookup:
            raise Unsupported(f"{file.name}: {place.dll} has no look-up table beside its IAT: bound, it could not be unbound")  # fmt: skip
        definers = table.definer[place.first : place.first + place.count]
        if min(definers) < 0:
            continue  # an import is missing: this DLL is left to the loader
        word = file.bits // 8
        rvas = table.rva[place.first : place.first + place.count]
        values = [ns.modules[d].file.base + r for d, r in zip(definers, rvas, strict=True)]
        at = file.locate(place.iat, word * place.count, "import directory, IAT")
        data[at : at + word * place.count] = struct.pack(f"<{place.count}{'Q' if word == 8 else 'I'}", *values)  # fmt: skip
        at = _descriptor_at(file, number)
        struct.pack_into("<II", data, at + 4, NEW_STYLE, NEW_STYLE)
        rows.append((place.dll, edge.module.file.timestamp, _forwarders(ns, edge, definers)))
    if rows:
        _write_directory(file, data, _directory(rows))
    return _sealed(file, data)


def _forwarders(ns: PeNamespace, edge: Edge, definers: list[int]) -> list[tuple[str, int]]:
    """The other DLLs that the addresses are in."""
    others = sorted(set(definers) - {edge.module.index})
    return [(ns.modules[n].path.rpartition("/")[2], ns.modules[n].file.timestamp) for n in others]


def _directory(rows: list[tuple[str, int, list[tuple[str, int]]]]) -> bytes:
    """The bytes of a bound import directory; names stand behind its last, empty row."""
    size = 8 * (1 + sum(1 + len(forwarders) for _, _, forwarders in rows))
    names: dict[str, int] = {}
    text = b""

    def name(dll: str) -> int:
        nonlocal text
        if dll not in names:
            names[dll] = size + len(text)
            text += dll.encode("utf-8", "surrogateescape") + b"\0"
        return names[dll]

    head = b""
    for dll, stamp, forwarders in rows:
        head += struct.pack("<IHH", stamp, name(dll), len(forwarders))
        for other, other_stamp in forwarders:
            head += struct.pack("<IHH", other_stamp, name(other), 0)
    return head + bytes(8) + text


def _write_directory(file: PeFile, data: bytearray, directory: bytes) -> None:
    """Put it into the headers' gap, and into the data directories."""
    start = _section_table_end(file)
    end = min([file.size_of_headers, *[s.raw_pointer for s in file.sections if s.raw_pointer]])
    if start + len(directory) > end or any(data[start:end][: len(directory)]):
        raise Unsupported(f"{file.name}: no room for {len(directory)} bytes between the section table and the first section")  # fmt: skip
    data[start : start + len(directory)] = directory
    struct.pack_into("<II", data, _directory_entry(file, BOUND_IMPORT), start, len(directory))


def unbind(file: PeFile) -> bytes:
    """The file without bound imports: the IAT is the look-up table again, descriptors have no stamps."""
    data = bytearray(file.data)
    word = file.bits // 8
    columns = imports(file)
    for number, place in enumerate(columns.descriptors):
        at = _descriptor_at(file, number)
        struct.pack_into("<II", data, at + 4, 0, 0)
        if place.stamp and place.lookup:
            source = file.locate(
                place.lookup, word * place.count, "import directory, look-up table"
            )
            target = file.locate(place.iat, word * place.count, "import directory, IAT")
            data[target : target + word * place.count] = file.data[source : source + word * place.count]  # fmt: skip
    old = file.directory(BOUND_IMPORT)
    if old is not None:
        if old.rva + old.size <= min(file.size_of_headers, len(data)):
            data[old.rva : old.rva + old.size] = bytes(old.size)
        struct.pack_into("<II", data, _directory_entry(file, BOUND_IMPORT), 0, 0)
    return _sealed(file, data)


def rebase(file: PeFile, base: int) -> bytes:
    """The file as if it had been linked for another base. Unsupported, RelocationError."""
    limit = 1 << file.bits
    if base % 0x10000 or base < 0x10000 or base + file.span > limit:
        raise Unsupported(
            f"{base:#x}: no base for it", f"a multiple of 0x10000 below {limit - file.span:#x}"
        )
    if file.characteristics & IMAGE_FILE_RELOCS_STRIPPED:
        raise Unsupported(f"{file.name}: it has no base relocations, and cannot be moved")
    image = map_image(file)
    basereloc.apply(file, image, base - file.base)
    data = bytearray(file.data)
    for section in file.sections[1:] or file.sections:
        size = min(section.filled, len(image) - section.address)
        if size > 0:
            data[section.offset : section.offset + size] = image[section.address : section.address + size].tobytes()  # fmt: skip
    at = file.nt_offset + (48 if file.bits == 64 else 52)
    data[at : at + file.bits // 8] = base.to_bytes(file.bits // 8, "little")
    return _sealed(file, data)


def add_unload_table(file: PeFile) -> bytes:
    """The file with a copy of each delay IAT as it is now, which unloading puts back (link.exe: /DELAY:UNLOAD).

    They get a section of their own, and the base relocations that the originals have. Unsupported when there are no delay
    imports, or no room for one more section header.
    """
    directory = file.directory(DELAY_IMPORT)
    if directory is None:
        raise Unsupported(f"{file.name}: it has no delay imports")
    data = bytearray(file.data)
    word = file.bits // 8
    section = _end_of_image(file)
    tables = bytearray()
    moved: list[int] = []  # RVAs of what is an address in the copies
    relocated = set(basereloc.base_relocs(file).rva.tolist())
    for number, place in enumerate(delay_imports(file).descriptors):
        source = file.locate(place.iat, word * place.count, "delay import directory, IAT")
        rva = section + len(tables)
        moved += [rva + word * i for i in range(place.count) if place.iat + word * i in relocated]
        tables += file.data[source : source + word * place.count]
        tables += bytes(word)
        tables += bytes(-len(tables) % 16)
        at = file.locate(directory.rva, 32 * (number + 1), "delay import directory") + 32 * number
        bias = file.base if place.delay.version == 1 else 0
        name = directory.rva + 32 * number + 4
        if bias and name in relocated:  # the descriptor itself has addresses
            moved.append(name + 20)
        struct.pack_into("<I", data, at + 24, rva + bias)
    if moved:
        blocks = basereloc.directory_with(file, moved)
        struct.pack_into("<II", data, _directory_entry(file, BASERELOC), section + len(tables), len(blocks))  # fmt: skip
        tables += blocks
    _append_section(file, data, b".didat2", section, bytes(tables))
    return _sealed(file, data)


def _end_of_image(file: PeFile) -> int:
    """The RVA of the next section."""
    step = file.section_alignment
    if step < _PAGE:
        raise Unsupported(f"{file.name}: sections are {step:#x} bytes apart: it is mapped as one piece, and takes no further section")  # fmt: skip
    end = max([file.size_of_image, *[s.address + max(s.virtual_size, s.raw_size) for s in file.sections]])  # fmt: skip
    return int((end + step - 1) // step * step)


def _append_section(file: PeFile, data: bytearray, name: bytes, rva: int, content: bytes) -> None:
    """One more section of data to be read only, at the end of the file and of the image."""
    at = _section_table_end(file)
    room = min([file.size_of_headers, *[s.raw_pointer for s in file.sections if s.raw_pointer]])
    if at + 40 > room or any(data[at : at + 40]):
        raise Unsupported(f"{file.name}: no room for one more section header", "a bound import directory may stand there: rtld unbind")  # fmt: skip
    step = file.section_alignment
    if rva + len(content) + step > 1 << 32:
        raise Unsupported(f"{file.name}: its image ends at {rva:#x}, and cannot grow")
    align = max(file.file_alignment, 1)
    data += bytes(-len(data) % align)
    raw = len(content) + -len(content) % align
    struct.pack_into("<8sIIIIIIHHI", data, at, name, len(content), rva, raw, len(data), 0, 0, 0, 0, _READ_ONLY_DATA)  # fmt: skip
    data += content.ljust(raw, b"\0")
    (count,) = struct.unpack_from("<H", data, file.nt_offset + 6)
    struct.pack_into("<H", data, file.nt_offset + 6, count + 1)
    end = (rva + len(content) + step - 1) // step * step
    struct.pack_into("<I", data, _optional(file) + 56, end)
    (initialised,) = struct.unpack_from("<I", data, _optional(file) + 8)
    struct.pack_into("<I", data, _optional(file) + 8, (initialised + raw) & 0xFFFFFFFF)


# -- places in the headers ------------------------------------------------------------------------


def _descriptor_at(file: PeFile, number: int) -> int:
    directory = file.directory(IMPORT)
    assert directory is not None
    return file.locate(directory.rva, 20 * (number + 1), "import directory") + 20 * number


def _optional(file: PeFile) -> int:
    return file.nt_offset + 24


def _directory_entry(file: PeFile, number: int) -> int:
    if len(file.directories) <= number:
        raise Unsupported(f"{file.name}: its header has no place for data directory {number}")
    return _optional(file) + (112 if file.bits == 64 else 96) + 8 * number


def _section_table_end(file: PeFile) -> int:
    count, size = struct.unpack_from("<H", file.data, file.nt_offset + 6)[0], struct.unpack_from("<H", file.data, file.nt_offset + 20)[0]  # fmt: skip
    return int(_optional(file) + size + 40 * count)


def _sealed(file: PeFile, data: bytearray) -> bytes:
    """With a right checksum, where there was one."""
    at = _optional(file) + 64
    if any(file.data[at : at + 4]):
        data[at : at + 4] = bytes(4)
        data[at : at + 4] = checksum(data).to_bytes(4, "little")
    return bytes(data)


def checksum(data: bytes | bytearray) -> int:
    """CheckSum of the optional header (imagehlp's CheckSumMappedFile); the field itself must be zero in ``data``."""
    padded = bytes(data) + bytes(-len(data) % 2)
    total = int(np.frombuffer(padded, "<u2").sum(dtype=np.uint64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(data)

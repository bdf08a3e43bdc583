"""Bytes to ``PeFile``: DOS, COFF and optional header, section table; where an RVA stands in the file. No numpy.

"PE Format" (learn.microsoft.com), checked against what the loaders accept (Wine's server and ntdll, ReactOS). A
relative virtual address (RVA) counts from where the image's headers are mapped. Every integer is checked before it is
an index, a size or an address. A *strict* file refuses whatever is malformed; a tolerant one reads what the loader
would get along with, and remembers in ``complaints`` what that was.
"""

from __future__ import annotations

import mmap
import struct
from collections import namedtuple

from rtld.core.source import read_source
from rtld.errors import FormatError
from rtld.pe.types import (
    DIRECTORY_NAMES,
    IMAGE_DOS_SIGNATURE,
    IMAGE_FILE_DLL,
    IMAGE_NT_SIGNATURE,
    MACHINES,
    PE32,
    PE32_PLUS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.source import Source

#: A row of the section table. ``address`` and ``extent`` are what is mapped, ``offset`` and ``filled`` where the first
#: ``filled`` bytes of that come from; the rest is zero.
Section = namedtuple(
    "Section", "name address extent offset filled characteristics virtual_size raw_size raw_pointer"
)
#: (rva, size) of a data directory.
Directory = namedtuple("Directory", "rva size")

_COFF = struct.Struct("<HHIIIHH")
_OPTIONAL32 = struct.Struct("<HBBIIIIIIIIIHHHHHHIIIIHHIIIIII")
_OPTIONAL64 = struct.Struct("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII")
_SECTION = struct.Struct("<8sIIIIIIHHI")
_PAGE = 4096
_MAX_IMAGE = 0x8000_0000  # an image's addresses are 31 bits: RVAs are signed in places
_MAX_SECTIONS = 0xFFFF
_MAX_NAME = 1 << 16  # of a DLL or a symbol; C++ names of 10,000 characters exist


class PeFile:
    """A decoded PE image. Immutable; holds a read-only map of the bytes until ``close()``.

    ``source`` is a path, a file descriptor, bytes, a memoryview or a binary file object. Raises ``OSError`` when it
    cannot be read and ``FormatError`` when it is not a well-formed PE image.
    """

    __slots__ = (
        "arch", "base", "bits", "cache", "characteristics", "complaints", "data", "directories",
        "dll_characteristics", "entry", "file_alignment", "find", "identity", "machine", "name", "nt_offset",
        "path", "section_alignment", "sections", "size", "size_of_headers", "size_of_image", "strict",
        "subsystem", "timestamp",
    )  # fmt: skip

    data: memoryview

    def __init__(self, source: Source, name: str | None = None, *, strict: bool = True) -> None:
        self.name: str
        self.path: str | None
        self.identity: tuple[int, int] | None
        self.name, self.path, self.identity, self.data = read_source(source, name)  # type: ignore[assignment]
        self.size = len(self.data)
        self.strict = strict
        self.complaints: list[FormatError] = []
        self.cache: dict[str, object] = {}  # decoded tables, by name
        owner = self.data.obj
        whole = isinstance(owner, bytes | bytearray | mmap.mmap) and len(owner) == self.size
        #: ``find(sub, start, end)`` of the bytes: a view has none of its own.
        self.find = owner.find if whole else bytes(self.data).find  # type: ignore[attr-defined]
        self._read_headers()

    def __repr__(self) -> str:
        return f"<PeFile {self.name}>"

    def close(self) -> None:
        """Drop the bytes. Views made of them must be gone, or the map stays until they are."""
        self.cache.clear()
        self.find = None
        self.data.release()

    # -- errors -----------------------------------------------------------------------------------

    def fail(self, structure: str, field: str, found: object, expected: object) -> FormatError:
        return FormatError(self.name, structure, field, found, expected)

    def complain(self, structure: str, field: str, found: object, expected: object) -> None:
        """Malformed, but a loader would go on: FormatError in a strict file, remembered in a tolerant one."""
        error = self.fail(structure, field, found, expected)
        if self.strict:
            raise error
        if len(self.complaints) < 1000:
            self.complaints.append(error)

    # -- headers ----------------------------------------------------------------------------------

    def _read_headers(self) -> None:
        data, size = self.data, self.size
        if size < 64 or data[:2] != IMAGE_DOS_SIGNATURE:
            raise self.fail("DOS header", "e_magic", bytes(data[:2]) or "an empty file", "'MZ'")
        at = self.nt_offset = int.from_bytes(data[60:64], "little")
        if at + 24 > size:
            raise self.fail("DOS header", "e_lfanew", at, f"at most {max(size - 24, 0):#x}")
        if data[at : at + 4] != IMAGE_NT_SIGNATURE:
            raise self.fail("NT headers", "Signature", bytes(data[at : at + 4]), "'PE\\0\\0'")
        coff = _COFF.unpack_from(data, at + 4)
        self.machine, sections, self.timestamp, _, _, optional_size, self.characteristics = coff
        at += 24
        if at + 2 > size:
            raise self.fail("optional header", "file size", size, f"at least {at + 2:#x}")
        magic = int.from_bytes(data[at : at + 2], "little")
        if magic not in (PE32, PE32_PLUS):
            raise self.fail("optional header", "Magic", magic, f"{PE32:#x} or {PE32_PLUS:#x}")
        self.bits = 64 if magic == PE32_PLUS else 32
        self.arch, bits = MACHINES.get(self.machine, ("", self.bits))
        if bits != self.bits:
            raise self.fail("optional header", "Magic", magic, f"that of a machine of {bits} bits")
        form = _OPTIONAL64 if self.bits == 64 else _OPTIONAL32
        if optional_size < form.size - 8 or at + form.size > size:
            raise self.fail(
                "COFF header", "SizeOfOptionalHeader", optional_size, f"at least {form.size}"
            )
        self._read_optional(form.unpack_from(data, at))
        self._read_directories(at + form.size, at + optional_size)
        self._read_sections(at + optional_size, sections)

    def _read_optional(self, fields: tuple[int, ...]) -> None:
        if self.bits == 32:  # BaseOfData is between; then all is the same
            fields = fields[:8] + fields[9:]
        self.entry, self.base = fields[6], fields[8]
        self.section_alignment, self.file_alignment = fields[9:11]
        self.size_of_image, self.size_of_headers = fields[18], fields[19]
        self.subsystem, self.dll_characteristics = fields[21], fields[22]
        fail, name = self.fail, "optional header"
        for field, value in (
            ("SectionAlignment", self.section_alignment),
            ("FileAlignment", self.file_alignment),
        ):
            if value == 0 or value & (value - 1) or value > 1 << 24:
                raise fail(name, field, value, "a power of two")
        if not 0 < self.size_of_image <= _MAX_IMAGE:
            raise fail(name, "SizeOfImage", self.size_of_image, f"1 to {_MAX_IMAGE:#x}")
        if not 0 < self.size_of_headers <= self.size_of_image:
            raise fail(
                name, "SizeOfHeaders", self.size_of_headers, f"1 to SizeOfImage {self.size_of_image:#x}"
            )  # fmt: skip
        if self.base % 0x10000:
            raise fail(name, "ImageBase", self.base, "a multiple of 64 KiB")
        if self.base + self.size_of_image > 1 << self.bits:
            raise fail(name, "ImageBase", self.base, f"an image below 2**{self.bits}")
        if self.entry >= self.size_of_image:
            self.complain(name, "AddressOfEntryPoint", self.entry, "an address in the image")

    def _read_directories(self, start: int, end: int) -> None:
        count = int.from_bytes(self.data[start - 4 : start], "little")
        room = max(0, min(end, self.size) - start) // 8
        if count > 16:
            self.complain("optional header", "NumberOfRvaAndSizes", count, "at most 16")
        elif count > room:
            self.complain("optional header", "NumberOfRvaAndSizes", count, f"at most {room}")
        count = min(count, room, 16)
        rows = struct.iter_unpack("<II", self.data[start : start + 8 * count])
        self.directories = tuple([Directory._make(row) for row in rows])

    def _read_sections(self, start: int, count: int) -> None:
        end = start + _SECTION.size * count
        if count > _MAX_SECTIONS or end > self.size:
            raise self.fail("COFF header", "NumberOfSections", count, "a table inside the file")
        page = max(self.section_alignment, 1)
        if self.section_alignment < _PAGE:
            # Mapped flat, as the file is (Wine: server/mapping.c); offsets are addresses.
            filled = min(self.size, self.size_of_image)
            self.sections: tuple[Section, ...] = (
                Section(b"", 0, self.size_of_image, 0, filled, 0xE0000000, 0, 0, 0),
            )
            return
        head = min(self.size_of_headers, self.size)
        rows = [Section(b"", 0, _up(self.size_of_headers, page), 0, head, 0x40000000, 0, 0, 0)]
        previous = rows[0].extent
        for row in _SECTION.iter_unpack(self.data[start:end]):
            name, virtual, address, raw, pointer = row[:5]
            name = name.rstrip(b"\0")
            extent = _up(virtual or raw, page)
            where = f"section {name.decode('latin-1')}"
            if address % page or address < previous:
                raise self.fail(
                    where, "VirtualAddress", address, f"a multiple of {page:#x} from {previous:#x} on"
                )  # fmt: skip
            if address + extent > _up(self.size_of_image, page):
                raise self.fail(
                    where, "VirtualSize", virtual, f"an end inside SizeOfImage {self.size_of_image:#x}"
                )  # fmt: skip
            previous = address + extent
            offset = (
                pointer & -512 if pointer else 0
            )  # what the system does, whatever FileAlignment says
            filled = min(_up(raw, self.file_alignment if self.file_alignment >= 512 else 1), extent)
            if not pointer:
                filled = 0
            elif pointer + min(raw, extent) > self.size:
                self.complain(where, "PointerToRawData + SizeOfRawData", pointer + raw,
                              f"at most the file's size {self.size:#x}")  # fmt: skip
            filled = max(0, min(filled, self.size - offset))
            rows.append(Section(name, address, extent, offset, filled, row[9], virtual, raw, pointer))  # fmt: skip
        self.sections = tuple(rows)

    # -- what there is ----------------------------------------------------------------------------

    @property
    def is_dll(self) -> bool:
        return bool(self.characteristics & IMAGE_FILE_DLL)

    @property
    def span(self) -> int:
        """Bytes of addresses that the image takes, in whole pages."""
        return _up(self.size_of_image, _PAGE)

    def directory(self, number: int) -> Directory | None:
        """A data directory, None when the file has none."""
        if number < len(self.directories):
            found = self.directories[number]
            if found.rva:
                return found
        return None

    # -- addresses to bytes -----------------------------------------------------------------------

    def section(self, rva: int) -> Section | None:
        """The section, or the headers, that this address is mapped from."""
        for section in self.sections:
            if section.address <= rva < section.address + section.extent:
                return section
        return None

    def locate(self, rva: int, size: int, what: str) -> int:
        """Where in the file the bytes [rva, rva + size) of the image stand. FormatError."""
        for section in self.sections:
            start = rva - section.address
            if 0 <= start and start + size <= section.filled:
                return int(section.offset + start)
        raise self.fail(
            what, "RVA", f"{rva:#x}+{size:#x}", "a range inside one section of the file"
        )

    def room(self, rva: int, what: str) -> tuple[int, int]:
        """(offset in the file, bytes from there to the section's end) of an address. FormatError."""
        for section in self.sections:
            start = rva - section.address
            if 0 <= start < section.filled:
                return int(section.offset + start), int(section.filled - start)
        raise self.fail(what, "RVA", rva, "an address inside a section of the file")

    def read(self, rva: int, size: int, what: str) -> bytes:
        """Bytes of the image as it is mapped: what a section has beyond its file bytes is zero. FormatError."""
        for section in self.sections:
            start = rva - section.address
            if 0 <= start and start + size <= section.extent:
                have = max(0, min(size, section.filled - start))
                at = section.offset + start
                return bytes(self.data[at : at + have]) + bytes(size - have)
        raise self.fail(what, "RVA", f"{rva:#x}+{size:#x}", "a range inside one section")

    def string(self, rva: int, what: str) -> bytes:
        """The NUL-terminated string at an address. FormatError."""
        at, left = self.room(rva, what)
        return self.string_at(at, left, what)

    def string_at(self, offset: int, left: int, what: str) -> bytes:
        """The string at a file offset, which must end within ``left`` bytes."""
        stop: int = self.find(b"\0", offset, offset + min(left, _MAX_NAME))
        if stop < 0:
            found = bytes(self.data[offset : offset + 40])
            raise self.fail(what, "string", found, f"a NUL within {min(left, _MAX_NAME):#x} bytes")
        return bytes(self.data[offset:stop])


def directory_name(number: int) -> str:
    """ "import directory" and so on."""
    return f"{DIRECTORY_NAMES[number]} directory"


def _up(value: int, align: int) -> int:
    return (value + align - 1) & -align

"""Bytes to ``ElfFile``: headers, program headers, the dynamic section, notes. No addresses, no numpy.

Only the execution view is read (System V gABI, chapter 5): program headers and DT_* entries. Section headers may be
absent or lie, and are never looked at. Every integer is checked before it is an index, a size or an address; what does
not fit is a ``FormatError`` that names structure and field. The tables behind the dynamic section (symbols, versions,
relocations, hashes) are columns of numpy and live in ``tables.py``.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections import namedtuple
from functools import partial
from itertools import takewhile
from operator import itemgetter

from rtld.core.source import read_source
from rtld.elf.types import (
    DT_FLAGS,
    DT_FLAGS_1,
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_STRSZ,
    DT_STRTAB,
    ELFMAG,
    ET_DYN,
    NT_GNU_BUILD_ID,
    PT_DYNAMIC,
    PT_INTERP,
    PT_LOAD,
    PT_NOTE,
)
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.core.source import Source

#: One program header; the fields of Elf64_Phdr without their prefix, in file order of the 64-bit form.
Segment = namedtuple("Segment", "type flags offset vaddr paddr filesz memsz align")
_segment = partial(
    tuple.__new__, Segment
)  # Segment._make without its checks: the rows have eight fields
Note = namedtuple("Note", "name type desc")

# Elf32_Phdr has p_flags after p_memsz.
_PHDR32 = ("type", "offset", "vaddr", "paddr", "filesz", "memsz", "flags", "align")
_MAX_PHNUM = 4096  # the kernel stops at 64 KiB of program headers: 1170 of 56 bytes, 2048 of 32
_PAGE = 4096


# The header behind e_ident, by (EI_CLASS, EI_DATA).
_HEADERS = {
    (bits, data): struct.Struct(order + ("HHIIIIIHHHHHH" if bits == 1 else "HHIQQQIHHHHHH"))
    for bits in (1, 2)
    for data, order in ((1, "<"), (2, ">"))
}


class Dynamic(dict[int, int]):
    """The entries of PT_DYNAMIC up to DT_NULL, by tag: of a repeated one the last counts, as in glibc (elf_get_dynamic_info)."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[tuple[int, int]]) -> None:
        super().__init__(entries)
        self.entries = entries

    def all(self, tag: int) -> list[int]:
        return [value for t, value in self.entries if t == tag]

    def __bool__(self) -> bool:
        return True  # an empty one is still there


class ElfFile:
    """A decoded ELF file. Immutable; holds a read-only map of the bytes until ``close()``.

    ``source`` is a path, a file descriptor, bytes, a memoryview or a binary file object.
    Raises ``OSError`` when the source cannot be read and ``FormatError`` when it is not a well-formed ELF file.
    """

    __slots__ = (
        "_by_type",
        "_strings",
        "_whole",
        "abiversion",
        "bits",
        "cache",
        "data",
        "dynamic",
        "entry",
        "flags",
        "identity",
        "loads",
        "machine",
        "name",
        "order",
        "osabi",
        "path",
        "phentsize",
        "phnum",
        "phoff",
        "segments",
        "size",
        "type",
    )

    data: memoryview
    dynamic: Dynamic | None  #: the dynamic section, or None when there is no PT_DYNAMIC

    def __init__(self, source: Source, name: str | None = None) -> None:
        self.name: str
        self.path: str | None
        self.identity: tuple[int, int] | None
        self.name, self.path, self.identity, self.data = read_source(source, name)  # type: ignore[assignment]
        self.size = len(self.data)
        self.cache: dict[str, object] = {}  # decoded tables (tables.py), by name
        self._strings: tuple[int, int] | None = None
        # A map or bytes can look for a byte; a plain view cannot.
        owner = self.data.obj
        self._whole: mmap.mmap | bytes | None = None
        if isinstance(owner, mmap.mmap | bytes) and len(owner) == self.size:
            self._whole = owner
        self._read_header()
        self._read_segments()

    def __repr__(self) -> str:
        return f"<ElfFile {self.name}>"

    def close(self) -> None:
        """Drop the bytes. Views made of them must be gone, or the map stays until they are."""
        self.cache.clear()
        self._whole = None
        self.data.release()

    def fail(self, structure: str, field: str, found: object, expected: object) -> FormatError:
        return FormatError(self.name, structure, field, found, expected)

    # -- header -----------------------------------------------------------------------------------

    def _read_header(self) -> None:
        data = self.data
        if data[:4] != ELFMAG:
            found = bytes(data[:4])
            raise self.fail("ELF header", "magic", found or "an empty file", "'\\x7fELF'")
        if self.size < 16:
            raise self.fail("ELF header", "file size", self.size, "at least 52")
        if data[4] not in (1, 2):
            raise self.fail("ELF header", "EI_CLASS", data[4], "1 or 2")
        if data[5] not in (1, 2):
            raise self.fail("ELF header", "EI_DATA", data[5], "1 or 2")
        if data[6] != 1:
            raise self.fail("ELF header", "EI_VERSION", data[6], 1)
        self.bits = 32 * data[4]
        self.order = "<" if data[5] == 1 else ">"
        self.osabi, self.abiversion = data[7], data[8]
        form = _HEADERS[data[4], data[5]]
        if self.size < 16 + form.size:
            raise self.fail("ELF header", "file size", self.size, f"at least {16 + form.size}")
        fields = form.unpack_from(data, 16)
        self.type, self.machine, version, self.entry, self.phoff = fields[:5]
        self.flags = fields[6]
        ehsize, self.phentsize, self.phnum = fields[7:10]
        if version != 1:
            raise self.fail("ELF header", "e_version", version, 1)
        if ehsize < 16 + form.size:
            raise self.fail("ELF header", "e_ehsize", ehsize, 16 + form.size)

    def _read_segments(self) -> None:
        self.segments: tuple[Segment, ...] = ()
        self._by_type: dict[int, Segment] = {}
        self.loads: tuple[Segment, ...] = ()
        if self.phnum == 0:
            return
        wide = self.bits == 64
        size = 56 if wide else 32
        if self.phentsize != size:
            raise self.fail("ELF header", "e_phentsize", self.phentsize, size)
        if self.phnum > _MAX_PHNUM:
            raise self.fail("ELF header", "e_phnum", self.phnum, f"at most {_MAX_PHNUM}")
        end = self.phoff + size * self.phnum
        if end > self.size:
            raise self.fail(
                "ELF header",
                "e_phoff",
                self.phoff,
                f"{self.phnum} headers inside the {self.size} bytes",
            )
        rows = struct.iter_unpack(
            self.order + ("IIQQQQQQ" if wide else "8I"), self.data[self.phoff : end]
        )
        if wide:
            self.segments = tuple(map(_segment, rows))
        else:
            self.segments = tuple(
                Segment(t, fl, o, v, pa, fs, ms, al) for t, o, v, pa, fs, ms, fl, al in rows
            )
        self._by_type = {segment.type: segment for segment in self.segments}
        self.loads = tuple([s for s in self.segments if s.type == PT_LOAD])
        limit = 1 << self.bits
        previous = 0
        for load in self.loads:
            _t, _f, offset, vaddr, _p, filesz, memsz, align = load
            if filesz > memsz:
                raise self.fail("PT_LOAD", "p_filesz", filesz, f"at most p_memsz {memsz:#x}")
            if filesz and offset + filesz > self.size:
                raise self.fail(
                    "PT_LOAD",
                    "p_offset + p_filesz",
                    offset + filesz,
                    f"at most the file's size {self.size:#x}",
                )
            if vaddr + memsz > limit:
                raise self.fail(
                    "PT_LOAD", "p_vaddr + p_memsz", vaddr + memsz, f"at most {limit:#x}"
                )
            if align & (align - 1):
                raise self.fail("PT_LOAD", "p_align", align, "a power of two")
            if vaddr < previous:
                raise self.fail(
                    "PT_LOAD", "p_vaddr", vaddr, f"ascending segments, so at least {previous:#x}"
                )
            previous = vaddr + memsz

    def segment(self, kind: int) -> Segment | None:
        """The last program header of this type, as glibc takes it, or None."""
        return self._by_type.get(kind)

    def contents(self, segment: Segment) -> memoryview:
        """A segment's bytes in the file."""
        end = segment.offset + segment.filesz
        if end > self.size:
            raise self.fail(
                f"program header of type {segment.type:#x}",
                "p_offset + p_filesz",
                end,
                f"at most the file's size {self.size:#x}",
            )
        return self.data[segment.offset : end]

    @property
    def interp(self) -> str | None:
        """PT_INTERP's path (the first one counts, as in the kernel), or None for a static program."""
        for segment in self.segments:
            if segment.type == PT_INTERP:
                raw = bytes(self.contents(segment))
                if not 2 <= len(raw) <= _PAGE or raw[-1] != 0:
                    raise self.fail(
                        "PT_INTERP", "path", raw[:40], "a NUL-terminated path of at most 4096 bytes"
                    )
                return os.fsdecode(raw[: raw.index(0)])
        return None

    @property
    def span(self) -> tuple[int, int]:
        """(lowest page-aligned p_vaddr, highest p_vaddr + p_memsz) over PT_LOAD; (0, 0) without any."""
        if not self.loads:
            return 0, 0
        return self.loads[0].vaddr & -_PAGE, self.loads[-1].vaddr + self.loads[-1].memsz

    @property
    def max_align(self) -> int:
        """The largest p_align of the PT_LOADs, at least a page: what a load bias must be a multiple of."""
        aligns: list[int] = [load.align for load in self.loads]
        return max([_PAGE, *aligns])

    def file_offset(self, vaddr: int, size: int = 1, what: str = "address") -> int:
        """Where in the file the bytes [vaddr, vaddr + size) of the memory image stand."""
        for load in self.loads:
            start = vaddr - load.vaddr
            if 0 <= start and start + size <= load.filesz:
                return int(load.offset + start)
        raise self.fail(
            what, "address range", f"{vaddr:#x}+{size:#x}", "a range inside one PT_LOAD of the file"
        )

    def load_end(self, offset: int) -> int:
        """Where in the file the PT_LOAD that has file offset ``offset`` ends."""
        for load in self.loads:
            if load.offset <= offset < load.offset + load.filesz:
                return int(load.offset + load.filesz)
        raise self.fail("PT_LOAD", "file offset", offset, "inside a segment")

    # -- the dynamic section ----------------------------------------------------------------------

    def __getattr__(self, name: str) -> Dynamic | None:
        # ``dynamic`` is decoded when it is first asked for; an ordinary attribute from then on, since all passes ask.
        if name != "dynamic":
            raise AttributeError(name)
        self.dynamic = self._read_dynamic()
        return self.dynamic

    def _read_dynamic(self) -> Dynamic | None:
        segment = self.segment(PT_DYNAMIC)
        if segment is None:
            return None
        size = 16 if self.bits == 64 else 8
        count = segment.filesz // size
        start = self.file_offset(segment.vaddr, count * size, "PT_DYNAMIC")
        form = self.order + ("QQ" if size == 16 else "II")
        rows = struct.iter_unpack(form, self.data[start : start + count * size])
        return Dynamic(list(takewhile(itemgetter(0), rows)))  # DT_NULL is 0

    @property
    def is_dynamic(self) -> bool:
        return self.dynamic is not None

    def strings(self) -> tuple[int, int]:
        """(file offset, size) of DT_STRTAB; checked to end in NUL, so that every string in it ends."""
        if self._strings is None:
            dynamic = self.dynamic
            address = None if dynamic is None else dynamic.get(DT_STRTAB)
            size = None if dynamic is None else dynamic.get(DT_STRSZ)
            if address is None or size is None:
                raise self.fail("dynamic section", "DT_STRTAB, DT_STRSZ", "absent", "present")
            if size == 0:
                raise self.fail("dynamic section", "DT_STRSZ", 0, "at least 1")
            start = self.file_offset(address, size, "DT_STRTAB")
            if self.data[start + size - 1] != 0:
                raise self.fail("DT_STRTAB", "last byte", self.data[start + size - 1], 0)
            self._strings = start, size
        return self._strings

    def string(self, offset: int, what: str = "string offset") -> str:
        """The string at ``offset`` of DT_STRTAB."""
        return os.fsdecode(self.string_bytes(offset, what))

    def string_bytes(self, offset: int, what: str = "string offset") -> bytes:
        start, size = self._strings or self.strings()
        if offset >= size:
            raise self.fail("DT_STRTAB", what, offset, f"less than DT_STRSZ {size:#x}")
        begin = start + offset
        # The table ends in NUL, so there is one.
        whole = self._whole
        if whole is not None:
            return whole[begin : whole.find(b"\0", begin)]
        return bytes(self.data[begin : start + size]).partition(b"\0")[0]

    def _one_string(self, tag: int, what: str) -> str | None:
        dynamic = self.dynamic
        offset = None if dynamic is None else dynamic.get(tag)
        return None if offset is None else self.string(offset, what)

    @property
    def needed(self) -> tuple[str, ...]:
        dynamic = self.dynamic
        if dynamic is None:
            return ()
        return tuple([self.string(o, "DT_NEEDED") for o in dynamic.all(DT_NEEDED)])

    @property
    def soname(self) -> str | None:
        return self._one_string(DT_SONAME, "DT_SONAME")

    @property
    def rpath(self) -> str | None:
        return self._one_string(DT_RPATH, "DT_RPATH")

    @property
    def runpath(self) -> str | None:
        return self._one_string(DT_RUNPATH, "DT_RUNPATH")

    @property
    def dt_flags(self) -> int:
        dynamic = self.dynamic
        return 0 if dynamic is None else dynamic.get(DT_FLAGS, 0)

    @property
    def dt_flags_1(self) -> int:
        dynamic = self.dynamic
        return 0 if dynamic is None else dynamic.get(DT_FLAGS_1, 0)

    @property
    def is_pie(self) -> bool:
        return self.type == ET_DYN and (
            self.interp is not None or bool(self.dt_flags_1 & 0x08000000)
        )

    # -- notes ------------------------------------------------------------------------------------

    def notes(self) -> Iterator[Note]:
        """Every note of every PT_NOTE: (owner's name, type, description bytes)."""
        for segment in self.segments:
            if segment.type == PT_NOTE:
                yield from self._notes_in(segment)

    def _notes_in(self, segment: Segment) -> Iterator[Note]:
        data = self.contents(segment)
        # gABI says 4, or 8 in 64-bit files; what is in use is p_align, where anything but 8 means 4 (glibc: dl-load.c).
        align = 8 if segment.align == 8 else 4
        at = 0
        while at + 12 <= len(data):
            namesz, descsz, kind = struct.unpack_from(self.order + "III", data, at)
            desc = (at + 12 + namesz + align - 1) & -align
            if desc + descsz > len(data):
                raise self.fail(
                    "PT_NOTE",
                    "n_namesz, n_descsz",
                    namesz + descsz,
                    f"at most {len(data) - at - 12}",
                )
            owner = bytes(data[at + 12 : at + 12 + namesz]).rstrip(b"\0").decode("latin-1")
            yield Note(owner, kind, bytes(data[desc : desc + descsz]))
            at = (desc + descsz + align - 1) & -align

    @property
    def build_id(self) -> bytes | None:
        for note in self.notes():
            if note.name == "GNU" and note.type == NT_GNU_BUILD_ID:
                return bytes(note.desc)
        return None

"""Unicorn's library as it is in this process's memory: what a linker finds there, and may change."""

from __future__ import annotations

import ctypes
import mmap
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.backends.emulated.libunicorn import Library

# <elf.h>
_PT_LOAD, _PT_GNU_RELRO = 1, 0x6474E552
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_JMPREL = 2, 5, 6, 10, 23
_HEADER, _SEGMENT = struct.Struct("<32xQ14xHH6x"), struct.Struct("<I12xQ16xQ8x")
_ROW, _INFO = 24, 8  # bytes of Elf64_Sym and of Elf64_Rela; where r_info is

libc = ctypes.CDLL(None)
_mprotect, _memmem = libc.mprotect, libc.memmem
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)


class _LinkMap(ctypes.Structure):
    """What a handle is, with glibc and with musl (<link.h>: struct link_map; musl: struct dso)."""

    _fields_ = (
        ("base", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.c_size_t),
    )


class Loaded:
    """The library in memory. *found*: it can be read there."""

    def __init__(self, library: Library) -> None:
        self.library = library
        place = _LinkMap.from_address(library.c._handle)
        self.base: int = place.base
        self.found = ctypes.string_at(self.base, 4) == b"\x7fELF"
        self.relro = self.span = range(0)
        if not self.found:
            return
        phoff, size, count = _HEADER.unpack(ctypes.string_at(self.base, _HEADER.size))
        for at in range(self.base + phoff, self.base + phoff + size * count, size):
            kind, start, length = _SEGMENT.unpack(ctypes.string_at(at, _SEGMENT.size))
            part = range(self.base + start, self.base + start + length)
            if kind == _PT_GNU_RELRO:
                self.relro = part
            elif kind == _PT_LOAD:
                self.span = range(self.base, max(self.span.stop, part.stop))
        self.dynamic: dict[int, int] = {}
        at = place.dynamic
        while tag := ctypes.c_int64.from_address(at).value:
            self.dynamic[tag] = ctypes.c_uint64.from_address(at + 8).value
            at += 16

    def _pointer(self, tag: int) -> int:
        """Where a table is; not every ld.so relocates what the dynamic section says."""
        value = self.dynamic.get(tag, 0)
        return value if value >= self.base else self.base + value

    def slot(self, function: str) -> int | None:
        """Where the library's PLT has the address of that function; None: it does not ask there."""
        symbols, strings = self._pointer(_DT_SYMTAB), self._pointer(_DT_STRTAB)
        records = self._pointer(_DT_JMPREL)
        kind = ctypes.c_uint32.from_address(
            records + _INFO
        ).value  # R_*_JUMP_SLOT, as the first one is
        name = function.encode() + b"\0"
        for place in found_in(strings, strings + self.dynamic.get(_DT_STRSZ, 0), name):
            st_name = (place - strings).to_bytes(4, "little")
            for at in found_in(symbols, strings, st_name):  # which stand behind the symbols
                symbol, rest = divmod(at - symbols, _ROW)
                if rest:
                    continue
                info = (symbol << 32 | kind).to_bytes(8, "little")
                for row in found_in(records, records + self.dynamic.get(_DT_PLTRELSZ, 0), info):
                    if (row - records) % _ROW == _INFO:
                        offset: int = ctypes.c_uint64.from_address(row - _INFO).value
                        return self.base + offset
        return None

    def redirect(self, function: str, to: int) -> bool:
        """What the library calls by its PLT under that name is from now on at another address."""
        slot = self.slot(function)
        return slot is not None and self.store(slot, to)

    def store(self, address: int, value: int) -> bool:
        """Change a word of its data, which is protected against that where RELRO says so."""
        page = address & -mmap.PAGESIZE
        closed = address in self.relro
        if closed and _mprotect(page, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE):
            return False
        ctypes.c_uint64.from_address(address).value = value
        if closed:
            _mprotect(page, mmap.PAGESIZE, mmap.PROT_READ)
        return True


def found_in(start: int, end: int, wanted: bytes) -> Iterator[int]:
    """Where these bytes are in memory."""
    while start < end and (at := _memmem(start, end - start, wanted, len(wanted))):
        yield at
        start = at + 1

"""Structures of <elf.h> as bytes, for either class and byte order (System V gABI, chapters 4 and 5)."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtld.arch.base import Arch
    from rtld.elf.file import ElfFile


class Encoder:
    """*file* is one whose class, byte order, machine and flags the new one is to have."""

    def __init__(self, file: ElfFile, arch: Arch) -> None:
        self.file = file
        self.arch = arch
        self.order: str = file.order
        self.wide: bool = file.bits == 64
        self.word = 8 if self.wide else 4
        self.letter = "Q" if self.wide else "I"
        self.ehsize, self.phentsize = (64, 56) if self.wide else (52, 32)
        self.symsize = 24 if self.wide else 16
        self.relsize = self.word * (3 if arch.uses_rela else 2)

    def header(self, kind: int, entry: int, count: int, phoff: int) -> bytes:
        """The ELF header; *count* program headers are at *phoff*."""
        ident = bytes(self.file.data[:16])
        form = self.order + ("HHIQQQIHHHHHH" if self.wide else "HHIIIIIHHHHHH")
        return ident + struct.pack(
            form, kind, self.file.machine, 1, entry, phoff, 0, self.file.flags, self.ehsize,
            self.phentsize, count, 0, 0, 0,
        )  # fmt: skip

    def segment(
        self, kind: int, flags: int, offset: int, address: int, filesz: int, memsz: int, align: int
    ) -> bytes:
        """A program header."""
        if self.wide:
            row = (kind, flags, offset, address, address, filesz, memsz, align)
            return struct.pack(self.order + "IIQQQQQQ", *row)
        row = (kind, offset, address, address, filesz, memsz, flags, align)
        return struct.pack(self.order + "IIIIIIII", *row)

    def symbol(
        self, name: int, info: int, other: int, section: int, value: int, size: int
    ) -> bytes:
        """A symbol table entry."""
        if self.wide:
            return struct.pack(self.order + "IBBHQQ", name, info, other, section, value, size)
        return struct.pack(self.order + "IIIBBH", name, value, size, info, other, section)

    def relocation(self, place: int, symbol: int, kind: int, addend: int) -> bytes:
        """A record of the CPU's usual kind: RELA, or REL, whose addend stands at the place."""
        info = self.arch.rinfo.join(symbol, kind)
        if not self.arch.uses_rela:
            return struct.pack(f"{self.order}2{self.letter}", place, info)
        return struct.pack(f"{self.order}2{self.letter}{self.letter.lower()}", place, info, addend)

    def dynamic(self, entries: Iterable[tuple[int, int]]) -> bytes:
        """The dynamic section, with DT_NULL at its end."""
        flat = [number for pair in (*entries, (0, 0)) for number in pair]
        return struct.pack(f"{self.order}{len(flat)}{self.letter}", *flat)

    def words(self, values: Sequence[int]) -> bytes:
        """Pointer-sized numbers."""
        mask = (1 << 8 * self.word) - 1
        flat = [value & mask for value in values]
        return struct.pack(f"{self.order}{len(flat)}{self.letter}", *flat)

    def hash(self, names: Sequence[bytes]) -> bytes:
        """DT_HASH of a symbol table with these names, the first of which is the null symbol's."""
        from rtld.elf.hash import sysv_hash

        count = len(names)
        buckets = max(count // 2, 1)
        heads, chain = [0] * buckets, [0] * count
        for index in range(count - 1, 0, -1):
            bucket = sysv_hash(names[index]) % buckets
            chain[index], heads[bucket] = heads[bucket], index
        numbers = [buckets, count, *heads, *chain]
        letter = "Q" if self.arch.hash_entry_size == 8 else "I"
        return struct.pack(f"{self.order}{len(numbers)}{letter}", *numbers)


class Strings:
    """DT_STRTAB."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._known: dict[bytes, int] = {b"": 0}

    def add(self, text: bytes) -> int:
        """The offset of a string, which is put there once."""
        at = self._known.get(text)
        if at is None:
            at = self._known[text] = len(self.data)
            self.data += text + b"\0"
        return at

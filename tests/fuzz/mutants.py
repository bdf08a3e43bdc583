"""Damaged copies of ELF files: seeded, so that a mutant is named by (file, number) and can be made again.

Half of the damage goes where a decoder looks: ELF header, program headers, dynamic section, and the tables that DT_*
point to (strings, symbols, hashes, versions, relocations). The other half goes anywhere.
"""

from __future__ import annotations

import random
import struct

# DT_* whose value is the address of a table, with a guess at how much of it is worth damaging.
_TABLES = {4: 96, 5: 64, 6: 192, 7: 96, 17: 96, 23: 96, 36: 64}
_TABLES |= {0x6FFFFEF5: 160, 0x6FFFFFF0: 64, 0x6FFFFFFC: 96, 0x6FFFFFFE: 96}


def regions(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of what decoders read, of ELF and PE. Walks a good file with struct alone, so that it shares no code with rtld."""
    if data[:2] == b"MZ":
        return pe_regions(data)
    order = "<" if data[5] == 1 else ">"
    wide = data[4] == 2
    phoff = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    entsize, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    found = [(0, 64 if wide else 52), (phoff, phoff + entsize * count)]
    loads, dynamic = [], None
    for index in range(count):
        at = phoff + index * entsize
        if wide:
            kind, _, offset, vaddr, _, filesz = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            kind, offset, vaddr, _, filesz = struct.unpack_from(order + "IIIII", data, at)
        if kind == 1:
            loads.append((vaddr, offset, filesz))
        elif kind == 2:
            dynamic = (offset, filesz)
        elif kind in (3, 4):
            found.append((offset, offset + filesz))
    if dynamic is None:
        return found
    found += [(dynamic[0], sum(dynamic))] * 3  # small, and everything hangs on it
    for tag, value in struct.iter_unpack(
        order + ("QQ" if wide else "II"),
        data[dynamic[0] : sum(dynamic) - dynamic[1] % (16 if wide else 8)],
    ):
        for vaddr, offset, filesz in loads:
            if tag in _TABLES and vaddr <= value < vaddr + filesz:
                start = offset + value - vaddr
                found.append((start, min(start + _TABLES[tag], len(data))))
    return found


def pe_regions(data: bytes) -> list[tuple[int, int]]:
    """Headers, section table, and the start of what each data directory leads to."""
    nt = struct.unpack_from("<I", data, 60)[0]
    sections, size = (
        struct.unpack_from("<H", data, nt + 6)[0],
        struct.unpack_from("<H", data, nt + 20)[0],
    )
    optional = nt + 24
    table = optional + size
    found = [(nt, optional + size), (optional, table), (table, table + 40 * sections), (0, 64)]
    places = [struct.unpack_from("<IIII", data, table + 40 * i + 8) for i in range(sections)]
    directories = optional + (112 if data[optional + 1] == 2 else 96)
    for number in range(16):
        rva, length = struct.unpack_from("<II", data, directories + 8 * number)
        for virtual, address, raw, pointer in places:
            if rva and address <= rva < address + max(virtual, raw):
                start = pointer + rva - address
                found += [(start, start + min(length, 256)), (start, start + min(length, 2048))]
    return found


class Mutator:
    """Makes mutants of one file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.regions = regions(data)
        self.order = "little" if data[5] == 1 or data[:2] == b"MZ" else "big"

    def mutant(self, number: int) -> bytes:
        """The mutant of that number; the same each time. Below zero: the undamaged file."""
        if number < 0:
            return self.data
        rng = random.Random(f"{len(self.data)}:{number}")
        data = bytearray(self.data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            rng.choice(_DAMAGE)(self, rng, data)
        return bytes(data)

    def place(self, rng: random.Random, data: bytearray) -> int:
        if rng.random() < 0.75:
            start, end = rng.choice(self.regions)
            end = min(end, len(data))
            if start < end:
                return rng.randrange(start, end)
        return rng.randrange(len(data)) if data else 0

    def flip(self, rng: random.Random, data: bytearray) -> None:
        if data:
            data[self.place(rng, data)] ^= 1 << rng.randrange(8)

    def overwrite(self, rng: random.Random, data: bytearray) -> None:
        """An integer field becomes a number that people forget about."""
        size = rng.choice((1, 2, 4, 4, 8, 8))
        at = self.place(rng, data) & -size
        top = 1 << 8 * size
        file = len(self.data)
        # fmt: off
        value = rng.choice((
            0, 1, 2, 7, top - 1, top - 2, top // 2, top // 2 - 1, top // 2 + 1, top - 4096,
            file, file - 1, file + 1, file // 2, file * 2, 4095, 4096, 0x10000, 0x7FFFFFFF, 1 << 31, 1 << 32,
            (1 << 47) - 1, rng.randrange(256), rng.randrange(file), rng.randrange(top),
        ))
        # fmt: on
        data[at : at + size] = (value % top).to_bytes(size, self.order)[: max(0, len(data) - at)]  # type: ignore[arg-type]

    def nudge(self, rng: random.Random, data: bytearray) -> None:
        """An integer field is off by a little: offsets, counts and sizes that point just outside."""
        size = rng.choice((2, 4, 8))
        at = self.place(rng, data) & -size
        field = data[at : at + size]
        if len(field) == size:
            value = int.from_bytes(field, self.order)  # type: ignore[arg-type]
            value += rng.choice((-4096, -16, -8, -1, 1, 8, 16, 4096))
            data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, self.order)  # type: ignore[arg-type]

    def copy(self, rng: random.Random, data: bytearray) -> None:
        """One entry over another."""
        size = rng.choice((4, 8, 16, 24, 56))
        source, target = self.place(rng, data) & -8, self.place(rng, data) & -8
        chunk = data[source : source + size]
        data[target : target + len(chunk)] = chunk[: max(0, len(data) - target)]

    def fill(self, rng: random.Random, data: bytearray) -> None:
        """A stretch of zeros, ones or noise."""
        at, size = self.place(rng, data), rng.choice((8, 16, 64, 256))
        size = min(size, len(data) - at)
        data[at : at + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))

    def truncate(self, rng: random.Random, data: bytearray) -> None:
        if rng.random() < 0.5:  # less often than the others: most of what it finds is found soon
            del data[rng.randrange(len(data) + 1) :]


_DAMAGE = (
    Mutator.flip,
    Mutator.flip,
    Mutator.overwrite,
    Mutator.overwrite,
    Mutator.overwrite,
    Mutator.nudge,
    Mutator.nudge,
    Mutator.copy,
    Mutator.fill,
    Mutator.truncate,
)

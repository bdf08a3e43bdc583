"""A program with the tables of __CxxFrameHandler3 gets those of __CxxFrameHandler4 in their place: no free compiler writes them.

FuncInfo and FuncInfo4 (Microsoft's ehdata.h, ehdata4_export.h). A function that catches has its states in its function's table in the
one, and a table of its own in the other.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rtld.pe.file import PeFile

MAGIC = 0x19930522
ROOM = b"ROOM" * 4  # where the section for the new tables begins


def unsigned(value: int) -> bytes:
    """A compressed number."""
    for more in range(4):
        if value < 1 << 7 * (more + 1):
            return ((value << more + 1) | (1 << more) - 1).to_bytes(more + 1, "little")
    return b"\x0f" + value.to_bytes(4, "little")


class Handler(NamedTuple):
    """HandlerType."""

    adjectives: int
    type: int
    object: int
    code: int
    frame: int


class Try(NamedTuple):
    """TryBlockMapEntry."""

    low: int
    high: int
    last: int
    handlers: tuple[Handler, ...]


class Tables(NamedTuple):
    """What both forms say."""

    unwind: Sequence[tuple[int, int]]
    tries: Sequence[Try]
    ips: Sequence[tuple[int, int]]
    synchronous: bool
    frame: int | None = None  # of a function that catches


class Image:
    """A file whose bytes are reached by their RVAs; new ones go where there is room."""

    def __init__(self, path: Path) -> None:
        self.data = bytearray(path.read_bytes())
        self.sections = [(s.address, s.offset, s.raw_size) for s in PeFile(str(path)).sections]
        at = self.data.index(ROOM)
        self._room: int = next(a + at - p for a, p, size in self.sections if p <= at < p + size)

    def place(self, rva: int) -> int:
        found: int = next(rva - a + p for a, p, size in self.sections if a <= rva < a + size)
        return found

    def read(self, form: str, rva: int) -> tuple[int, ...]:
        return struct.unpack_from(form, self.data, self.place(rva))

    def add(self, data: bytes) -> int:
        """The RVA where it stands now."""
        rva, at = self._room, self.place(self._room)
        assert at + len(data) <= len(self.data)
        self.data[at : at + len(data)] = data
        self._room += len(data)
        return rva


def old_tables(image: Image, rva: int) -> Tables:
    """FuncInfo at an RVA."""
    _, states, unwind, tries, try_at, ips, ip_at, _, _, flags = image.read("<10I", rva)
    blocks = []
    for number in range(tries):
        low, high, last, count, at = image.read("<iiiII", try_at + 20 * number)
        handlers = tuple(Handler(*image.read("<IIiII", at + 20 * n)) for n in range(count))
        blocks.append(Try(low, high, last, handlers))
    return Tables(
        [image.read("<iI", unwind + 8 * n) for n in range(states)],  # type: ignore[misc]
        blocks,
        [image.read("<Ii", ip_at + 8 * n) for n in range(ips)],  # type: ignore[misc]
        bool(flags & 1),
    )


def of_function(tables: Tables, begin: int, end: int) -> Tables:
    """What the function, or the handler, at these addresses needs of them."""
    ips = [(ip, state) for ip, state in tables.ips if begin <= ip < end]
    for block in tables.tries:
        for handler in block.handlers:
            if handler.code != begin:
                continue
            first, last = block.high + 1, block.last

            def own(state: int, first: int = first) -> int:
                return max(state - first, -1)

            tries = [Try(own(t.low), own(t.high), own(t.last), t.handlers) for t in tables.tries if t.low >= first and t.high <= last]  # fmt: skip
            unwind = [(own(to), action) for to, action in tables.unwind[first : last + 1]]
            return Tables(unwind, tries, [(ip, own(s)) for ip, s in ips], tables.synchronous, handler.frame)  # fmt: skip
    return tables._replace(ips=ips)


def new_tables(image: Image, tables: Tables, begin: int) -> int:
    """The RVA of a FuncInfo4 that says the same."""
    unwind, places = unsigned(len(tables.unwind)), []
    first = len(unwind)
    for to, action in tables.unwind:
        places.append(len(unwind))
        back = len(unwind) - (places[to] if to >= 0 else first - 1)
        unwind += unsigned(back << 2 | (3 if action else 0)) + (struct.pack("<I", action) if action else b"")  # fmt: skip
    blocks = unsigned(len(tables.tries))
    for block in tables.tries:
        rows = unsigned(len(block.handlers))
        for h in block.handlers:
            flags = (1 if h.adjectives else 0) | (2 if h.type else 0) | (4 if h.object else 0)
            rows += bytes([flags])
            rows += unsigned(h.adjectives) if h.adjectives else b""
            rows += struct.pack("<I", h.type) if h.type else b""
            rows += unsigned(h.object) if h.object else b""
            rows += struct.pack("<I", h.code)
        blocks += b"".join(map(unsigned, (block.low, block.high, block.last)))
        blocks += struct.pack("<I", image.add(rows))
    ips, at = unsigned(len(tables.ips)), begin
    for ip, state in tables.ips:
        ips += unsigned(ip - at) + unsigned(state + 1)
        at = ip
    catches = tables.frame is not None
    flags = (1 if catches else 0) | (8 if tables.unwind else 0) | (0x10 if tables.tries else 0)
    info = bytes([flags | (0x20 if tables.synchronous else 0)])
    info += struct.pack("<I", image.add(unwind)) if tables.unwind else b""
    info += struct.pack("<I", image.add(blocks)) if tables.tries else b""
    info += struct.pack("<I", image.add(ips))
    info += unsigned(tables.frame) if tables.frame is not None else b""
    return image.add(info)


def convert(path: Path, out: Path) -> int:
    """Give every function of a program new tables; how many there are."""
    image = Image(path)
    directory = PeFile(str(path)).directory(3)
    assert directory is not None
    start, size = directory[:2]
    count = 0
    for row in range(start, start + size, 12):
        begin, end, info = image.read("<III", row)
        head = image.read("<BBBB", info)
        if not head[0] >> 3 & 3:
            continue
        at = info + 4 + 4 * (-(-head[2] // 2)) + 4
        (data,) = image.read("<I", at)
        if not any(a <= data < a + s for a, _, s in image.sections) or image.read("<I", data)[0] != MAGIC:  # fmt: skip
            continue
        new = new_tables(image, of_function(old_tables(image, data), begin, end), begin)
        struct.pack_into("<I", image.data, image.place(at), new)
        count += 1
    out.write_bytes(image.data)
    return count

"""A LoongArch64 program and a library, byte by byte: there is no compiler for that CPU in Debian 12.

Instructions: LoongArch Reference Manual, volume 1 (encodings in appendix B); files: System V gABI, psABI "laelf".
"""

from __future__ import annotations

import struct
from pathlib import Path

ZERO, RA, TP, A0, A1, A2, A7, T0, S0 = 0, 1, 2, 4, 5, 6, 11, 12, 23
INTERP = b"/lib64/ld-linux-loongarch-lp64d.so.1\0"
PAGE = 0x4000
RELATIVE, JUMP_SLOT, R64, TPREL64 = 3, 5, 2, 11
FLAGS = 0x43  # double-float, object ABI version 1


def pcaddu12i(rd: int, pages: int) -> int:
    return 0x1C000000 | (pages & 0xFFFFF) << 5 | rd


def ld_d(rd: int, rj: int, offset: int) -> int:
    return 0x28C00000 | (offset & 0xFFF) << 10 | rj << 5 | rd


def addi_d(rd: int, rj: int, value: int) -> int:
    return 0x02C00000 | (value & 0xFFF) << 10 | rj << 5 | rd


def add_d(rd: int, rj: int, rk: int) -> int:
    return 0x00108000 | rk << 10 | rj << 5 | rd


def jirl(rd: int, rj: int, offset: int) -> int:
    return 0x4C000000 | (offset >> 2 & 0xFFFF) << 10 | rj << 5 | rd


SYSCALL = 0x002B0000


def load(rd: int, at: int, address: int) -> list[int]:
    """rd = the word at *address*; the instructions stand at *at*."""
    distance = address - at
    high = distance + 0x800 >> 12
    return [pcaddu12i(T0, high), ld_d(rd, T0, distance - (high << 12))]


def elf(
    code: bytes, data: bytes, symbols: list[tuple[str, int, int, int, int]],
    relocations: list[tuple[int, int, int, int]], *, needed: str = "", soname: str = "", interp: bool = False,
    tls: bytes = b"", runpath: str = "",
) -> bytes:  # fmt: skip
    """Code at 0x4000, data at 0x8000, everything else before the code.

    *symbols*: name, st_info, section (0: undefined), value, size. *relocations*: place, type, symbol, addend.
    """
    strings = bytearray(b"\0")

    def string(text: str) -> int:
        at = len(strings)
        strings.extend(text.encode() + b"\0")
        return at

    table = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", string(name), info, 0, section, value, size)
        for name, info, section, value, size in symbols
    )
    dynamic = [(1, string(needed))] if needed else []
    dynamic += [(14, string(soname))] if soname else []
    dynamic += [(29, string(runpath))] if runpath else []
    count = len(symbols) + 1
    chain = [0, *range(2, count), 0] if count > 1 else [0]
    hashes = struct.pack(f"<{3 + len(chain)}I", 1, count, 1 if count > 1 else 0, *chain)
    records = b"".join(
        struct.pack("<QQq", place, symbol << 32 | kind, addend)
        for place, kind, symbol, addend in relocations
    )
    at = 0x400
    place = {}
    head = bytearray(0x400)
    for name, part in (
        ("hash", hashes),
        ("symbols", table),
        ("strings", bytes(strings)),
        ("records", records),
    ):
        place[name] = at
        head += part + bytes(-len(part) % 16)
        at = len(head)
    dynamic_at = 0x8000 + len(data) + -len(data) % 16
    dynamic += [
        (4, place["hash"]), (5, place["strings"]), (6, place["symbols"]), (10, len(strings)), (11, 24),
        (7, place["records"]), (8, len(records)), (9, 24), (24, 0), (0, 0),
    ]  # fmt: skip
    words = b"".join(struct.pack("<QQ", *entry) for entry in dynamic)
    data = data.ljust(dynamic_at - 0x8000, b"\0") + words
    tls_at = 0x8000 + len(data)
    data += tls
    rows = [
        (1, 4, 0, len(head), PAGE), (1, 5, 0x4000, len(code), PAGE), (1, 6, 0x8000, len(data), PAGE),
        (2, 6, dynamic_at, len(words), 8), (0x6474E551, 6, 0, 0, 16),
    ]  # fmt: skip
    if interp:
        rows.insert(0, (3, 4, 0x380, len(INTERP), 1))
        head[0x380 : 0x380 + len(INTERP)] = INTERP
    if tls:
        rows.append((7, 4, tls_at, len(tls), 8))
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH", 3, 258, 1, 0x4000, 64, 0, FLAGS, 64, 56, len(rows), 0, 0, 0
    )
    headers = header + b"".join(
        struct.pack("<IIQQQQQQ", kind, flags, where, where, where, size, size, align)
        for kind, flags, where, size, align in rows
    )
    head[: len(headers)] = headers
    return bytes(head).ljust(0x4000, b"\0") + code.ljust(0x4000, b"\0") + data


def assemble(*instructions: int) -> bytes:
    return struct.pack(f"<{len(instructions)}I", *instructions)


def write_program(directory: Path) -> Path:
    """A program that calls twice(20) of its library, writes what the library's ``message`` leads to, and ends with 42."""
    function, thing, thread = 0x12, 0x11, 0x16  # STB_GLOBAL; FUNC, OBJECT, TLS
    # The library: twice() at 0x4000; message at 0x8000 leads to the text at 0x8010; a thread-local word of 7.
    library = elf(
        assemble(add_d(A0, A0, A0), jirl(ZERO, RA, 0)),
        bytes(16) + b"hello\n",
        [("twice", function, 1, 0x4000, 8), ("message", thing, 1, 0x8000, 8), ("own", thread, 1, 0, 8)],
        [(0x8000, RELATIVE, 0, 0x8010)],
        soname="libtwice.so", tls=struct.pack("<Q", 7),
    )  # fmt: skip
    (directory / "libtwice.so").write_bytes(library)
    code: list[int] = []

    def here() -> int:
        return 0x4000 + 4 * len(code)

    code.append(addi_d(A0, ZERO, 20))
    code += load(T0, here(), 0x8000)
    code += [jirl(RA, T0, 0), add_d(S0, A0, ZERO)]
    code += load(A1, here(), 0x8008)
    code += [
        ld_d(A1, A1, 0),
        addi_d(A0, ZERO, 1),
        addi_d(A2, ZERO, 6),
        addi_d(A7, ZERO, 64),
        SYSCALL,
    ]
    code += [addi_d(A0, S0, 2), addi_d(A7, ZERO, 93), SYSCALL]
    program = elf(
        assemble(*code), bytes(24),
        [("twice", function, 0, 0, 0), ("message", thing, 0, 0, 0), ("own", thread, 0, 0, 0)],
        [(0x8000, JUMP_SLOT, 1, 0), (0x8008, R64, 2, 0), (0x8010, TPREL64, 3, 4)],
        needed="libtwice.so", interp=True, runpath="$ORIGIN",
    )  # fmt: skip
    path = directory / "program"
    path.write_bytes(program)
    path.chmod(0o755)
    return path

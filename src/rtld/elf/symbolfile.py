"""Two ELF files made for gdb's JIT interface (GDB manual, "JIT Interface"; gdb/jit.c, elfread.c).

``holder``: a library that ld.so opens and gdb so knows; it has the two symbols gdb looks for. ``symbol_file``: what gdb is to
read of a library loaded by us: its code's range as a section at its address, and its functions.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ET_EXEC, _ET_DYN, _EM_X86_64 = 2, 3, 62
_PROGBITS, _SYMTAB, _STRTAB, _HASH, _DYNAMIC, _NOBITS, _DYNSYM = 1, 2, 3, 5, 6, 8, 11
_WRITE, _ALLOC, _EXEC = 1, 2, 4
_FUNC, _OBJECT = 0x12, 0x11  # STB_GLOBAL

#: Offsets in the holder, and so from its load bias.
REGISTER, DESCRIPTOR = 0x1000, 0x2000


def _header(kind: int, phnum: int, sections: int, shoff: int) -> bytes:
    head = b"\x7fELF\2\1\1" + bytes(9)
    phoff = 64 if phnum else 0
    return head + struct.pack(
        "<HHIQQQIHHHHHH",
        kind,
        _EM_X86_64,
        1,
        0,
        phoff,
        shoff,
        0,
        64,
        56,
        phnum,
        64,
        sections,
        sections - 1,
    )


def _strings(names: Iterable[str]) -> tuple[bytes, list[int]]:
    data, at = bytearray(b"\0"), []
    for name in names:
        at.append(len(data))
        data += name.encode("utf-8", "surrogateescape") + b"\0"
    return bytes(data), at


def _section(
    name: int,
    kind: int,
    flags: int,
    address: int,
    offset: int,
    size: int,
    link: int = 0,
    info: int = 0,
    entry: int = 0,
) -> bytes:
    return struct.pack(
        "<IIQQQQIIQQ",
        name,
        kind,
        flags,
        address,
        offset,
        size,
        link,
        info,
        8 if entry else 1,
        entry,
    )


def symbol_file(
    sections: Sequence[tuple[str, int, int]], symbols: Iterable[tuple[str, int, int]]
) -> bytes:
    """*sections*: (name, address, size) of executable ranges; *symbols*: (name, address, size) of functions."""
    rows = list(symbols)
    strtab, at = _strings([name for name, _a, _s in rows])
    table = bytearray(24)
    for (_name, address, size), name in zip(rows, at, strict=True):
        index = next(
            (i for i, (_n, a, s) in enumerate(sections, 1) if a <= address < a + s), 0xFFF1
        )
        table += struct.pack("<IBBHQQ", name, _FUNC, 0, index, address, size)
    names, where = _strings(
        [*[name for name, _a, _s in sections], ".symtab", ".strtab", ".shstrtab"]
    )
    count = len(sections)
    symtab_at = 64
    strtab_at = symtab_at + len(table)
    names_at = strtab_at + len(strtab)
    shoff = names_at + len(names) + 7 & -8
    data = bytearray(_header(_ET_EXEC, 0, count + 4, shoff))
    data += table + strtab + names
    data += bytes(shoff - len(data) + 64)
    for i, (_name, address, size) in enumerate(sections):
        data += _section(where[i], _NOBITS, _ALLOC | _EXEC, address, 0, size)
    data += _section(where[count], _SYMTAB, 0, 0, symtab_at, len(table), count + 2, 1, 24)
    data += _section(where[count + 1], _STRTAB, 0, 0, strtab_at, len(strtab))
    data += _section(where[count + 2], _STRTAB, 0, 0, names_at, len(names))
    return bytes(data)


def holder() -> bytes:
    """``__jit_debug_register_code``, which only returns, and ``__jit_debug_descriptor``: version 1, nothing registered."""
    strtab, at = _strings(["__jit_debug_register_code", "__jit_debug_descriptor", "librtld-jit.so"])
    symtab = bytes(24)
    symtab += struct.pack("<IBBHQQ", at[0], _FUNC, 0, 2, REGISTER, 1)
    symtab += struct.pack("<IBBHQQ", at[1], _OBJECT, 0, 3, DESCRIPTOR, 24)
    hashes = struct.pack("<2I1I3I", 1, 3, 1, 0, 2, 0)
    symtab_at = 64 + 56 * 3
    strtab_at = symtab_at + len(symtab)
    hash_at = strtab_at + len(strtab) + 7 & -8
    dynamic_at = DESCRIPTOR + 64
    entries = [
        (4, hash_at),
        (5, strtab_at),
        (6, symtab_at),
        (10, len(strtab)),
        (11, 24),
        (14, at[2]),
        (0, 0),
    ]
    dynamic = b"".join([struct.pack("<QQ", *entry) for entry in entries])
    names, where = _strings(
        [".dynsym", ".text", ".data", ".dynstr", ".hash", ".dynamic", ".shstrtab"]
    )
    names_at = dynamic_at + len(dynamic)
    shoff = names_at + len(names) + 7 & -8
    end = dynamic_at + len(dynamic)
    data = bytearray(_header(_ET_DYN, 3, 8, shoff))
    rows = (
        (1, 5, 0, REGISTER + 16, 0x1000),
        (1, 6, DESCRIPTOR, end - DESCRIPTOR, 0x1000),
        (2, 6, dynamic_at, len(dynamic), 8),
    )
    for kind, flags, offset, size, align in rows:
        data += struct.pack("<IIQQQQQQ", kind, flags, offset, offset, offset, size, size, align)
    data += symtab + strtab
    data += bytes(hash_at - len(data)) + hashes
    data += bytes(REGISTER - len(data)) + b"\xc3"
    data += bytes(DESCRIPTOR - len(data)) + struct.pack("<IIQQ", 1, 0, 0, 0)
    data += bytes(dynamic_at - len(data)) + dynamic + names
    data += bytes(shoff - len(data) + 64)
    data += _section(where[0], _DYNSYM, _ALLOC, symtab_at, symtab_at, len(symtab), 4, 1, 24)
    data += _section(where[1], _PROGBITS, _ALLOC | _EXEC, REGISTER, REGISTER, 1)
    data += _section(where[2], _PROGBITS, _ALLOC | _WRITE, DESCRIPTOR, DESCRIPTOR, 24)
    data += _section(where[3], _STRTAB, _ALLOC, strtab_at, strtab_at, len(strtab))
    data += _section(where[4], _HASH, _ALLOC, hash_at, hash_at, len(hashes), 1, 0, 4)
    data += _section(
        where[5], _DYNAMIC, _ALLOC | _WRITE, dynamic_at, dynamic_at, len(dynamic), 4, 0, 16
    )
    data += _section(where[6], _STRTAB, 0, 0, names_at, len(names))
    return bytes(data)

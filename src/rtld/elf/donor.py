"""A donor: the smallest library with a PT_TLS, for ld.so to open in place of one of ours.

Only ld.so can give a new block of thread-local storage to threads that are already running. So for every module with
PT_TLS that is opened later, it opens a donor with the same size, alignment and initial image, whose relocations tell what
ld.so has decided: the module id, and with DF_STATIC_TLS the distance from the thread pointer.

    ELF header, program headers, dynamic section, one empty symbol, hash, strings, relocations, words, image
"""

from __future__ import annotations

import struct

_ET_DYN, _EM_X86_64 = 3, 62
_PT_LOAD, _PT_DYNAMIC, _PT_TLS, _PT_GNU_STACK = 1, 2, 7, 0x6474E551
_DT = {
    "NULL": 0, "HASH": 4, "STRTAB": 5, "SYMTAB": 6, "RELA": 7, "RELASZ": 8, "RELAENT": 9, "STRSZ": 10,
    "SYMENT": 11, "FLAGS": 30,
}  # fmt: skip
_DTPMOD64, _TPOFF64, _TLSDESC = 16, 18, 36
_DF_STATIC_TLS = 0x10

#: Offsets of the words in the file, and so from its load bias.
MODULE, DESCRIPTOR, DISTANCE = 0x300, 0x308, 0x318
_IMAGE = 0x400
_DYNAMIC = 0x120


def donor(image: bytes, size: int, align: int, first: int, *, static: bool) -> bytes:
    """The file. *image*: initialised part; *size*: all of the block; *first*: its address modulo *align*."""
    # The block's start keeps its address modulo the alignment; the initial image stands there too.
    at = _IMAGE + (first - _IMAGE) % max(align, 1)
    end = at + len(image)
    rela = struct.pack("<QQq", MODULE, _DTPMOD64, 0) + struct.pack("<QQq", DESCRIPTOR, _TLSDESC, 0)
    if static:
        rela += struct.pack("<QQq", DISTANCE, _TPOFF64, 0)
    symtab, hashes, strings, relocs, dynamic = 0x200, 0x218, 0x22C, 0x230, _DYNAMIC
    entries = [
        ("HASH", hashes), ("STRTAB", strings), ("SYMTAB", symtab), ("STRSZ", 1), ("SYMENT", 24),
        ("RELA", relocs), ("RELASZ", len(rela)), ("RELAENT", 24),
    ]  # fmt: skip
    if static:
        entries.append(("FLAGS", _DF_STATIC_TLS))
    entries.append(("NULL", 0))
    data = bytearray(end)
    data[:16] = b"\x7fELF\2\1\1" + bytes(9)
    struct.pack_into(
        "<HHIQQQIHHHHHH", data, 16, _ET_DYN, _EM_X86_64, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0
    )
    rows = (
        (_PT_LOAD, 6, 0, end, end, 4096),
        (_PT_DYNAMIC, 6, dynamic, 16 * len(entries), 16 * len(entries), 8),
        (_PT_TLS, 4, at, len(image), size, align),
    )
    for i, (kind, flags, where, filesz, memsz, alignment) in enumerate(rows):
        struct.pack_into(
            "<IIQQQQQQ",
            data,
            64 + 56 * i,
            kind,
            flags,
            where,
            where,
            where,
            filesz,
            memsz,
            alignment,
        )
    for i, (name, value) in enumerate(entries):
        struct.pack_into("<QQ", data, dynamic + 16 * i, _DT[name], value)
    struct.pack_into("<IIIII", data, hashes, 1, 1, 0, 0, 0)
    data[relocs : relocs + len(rela)] = rela
    data[at:end] = image
    return bytes(data)


def stack_donor() -> bytes:
    """A library without anything but a PT_GNU_STACK that is executable: ld.so makes the stacks of all threads so."""
    data = bytearray(donor(b"", 0, 1, 0, static=False))
    struct.pack_into("<IIQQQQQQ", data, 64 + 2 * 56, _PT_GNU_STACK, 7, 0, 0, 0, 0, 0, 16)
    struct.pack_into("<Q", data, _DYNAMIC + 6 * 16 + 8, 0)  # DT_RELASZ: nothing to be told
    return bytes(data)


def unique_path(fd: int, number: int) -> bytes:
    """A path of a descriptor that no earlier donor had: ld.so knows what it has loaded by name."""
    return (
        b"/proc/self"
        + b"".join(b"/." if number >> bit & 1 else b"/" for bit in range(20))
        + b"/fd/%d" % fd
    )

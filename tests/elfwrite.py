"""An ELF writer without compiler and link editor: small x86-64 libraries and programs that ld.so takes.

For closures too large or too many to compile: ``bench/synthetic.py``, random graphs of dependencies.
"""

from __future__ import annotations

import os
import struct

import numpy as np
from numpy.typing import NDArray

Names = NDArray[np.uint8]  # one row each, all of one length

PAGE = 4096

DT_NEEDED, DT_PLTRELSZ, DT_PLTGOT, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ = 1, 2, 3, 5, 6, 7, 8
DT_RELAENT, DT_STRSZ, DT_SYMENT, DT_INIT, DT_SONAME, DT_PLTREL, DT_JMPREL = (
    9,
    10,
    11,
    12,
    14,
    20,
    23,
)
DT_DEBUG, DT_RUNPATH, DT_FLAGS, DT_GNU_HASH, DT_FLAGS_1 = 21, 29, 30, 0x6FFFFEF5, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW, DF_1_INITFIRST = 8, 1, 0x20
R_GLOB_DAT, R_JUMP_SLOT = 6, 7
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_PHDR, PT_GNU_STACK = 1, 2, 3, 6, 0x6474E551

INTERP = b"/lib64/ld-linux-x86-64.so.2\0"
# mov edi, 0; mov eax, SYS_exit_group; syscall
EXIT = bytes.fromhex("bf00000000 b8e7000000 0f05")
RET = b"\xc3"

SYM = np.dtype("<u4, u1, u1, <u2, <u8, <u8")
RELA = np.dtype("<u8, <u8, <i8")


def gnu_hashes(names: Names) -> NDArray[np.uint64]:
    """h = h * 33 + c, one column of characters at a time."""
    h = np.full(len(names), 5381, np.uint64)
    for column in names.T:
        h = (h * np.uint64(33) + column) & np.uint64(0xFFFFFFFF)
    return h


def gnu_hash_table(hashes: NDArray[np.uint64], first: int) -> tuple[bytes, NDArray[np.int64]]:
    """DT_GNU_HASH for the symbols from index ``first`` on, and the order they must have: by bucket."""
    count = len(hashes)
    nbuckets = max(1, count // 2) | 1
    bits = max(6, count.bit_length() + 3)
    words = 1 << (bits - 6)
    order = np.argsort(hashes % np.uint64(nbuckets), kind="stable")
    h = hashes[order]
    bucket = (h % np.uint64(nbuckets)).astype(np.int64)
    bloom = np.zeros(words, np.uint64)
    where = ((h >> np.uint64(6)) & np.uint64(words - 1)).astype(np.int64)
    one = np.uint64(1)
    np.bitwise_or.at(bloom, where, one << (h & np.uint64(63)))
    np.bitwise_or.at(bloom, where, one << ((h >> np.uint64(bits)) & np.uint64(63)))
    buckets = np.zeros(nbuckets, "<u4")
    last = np.ones(count, bool)
    if count:
        last[:-1] = bucket[1:] != bucket[:-1]
        starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
        buckets[bucket[starts]] = first + starts
    chain = ((h & ~one) | last.astype(np.uint64)).astype("<u4")
    head = struct.pack("<4I", nbuckets, first, words, bits)
    return head + bloom.astype("<u8").tobytes() + buckets.tobytes() + chain.tobytes(), order


class Parts:
    """Bytes one after the other, each part aligned, with the address of every part."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.data = bytearray()

    def add(self, data: bytes, align: int = 8) -> int:
        self.data += bytes(-(self.start + len(self.data)) % align)
        address = self.start + len(self.data)
        self.data += data
        return address


def write(
    path: str,
    defined: Names,
    wanted: Names,
    needed: list[str],
    *,
    code: bytes = RET,
    program: bool = False,
    runpath: str = "",
    init: bool = False,
    initfirst: bool = False,
) -> None:
    """One ELF file: its symbols are all functions at the one place where ``code`` is.

    ``init`` makes ``code`` its initialiser, ``initfirst`` the first of the whole process (DF_1_INITFIRST).
    """
    count = len(wanted)
    headers = 6 if program else 4
    low = Parts(64 + 56 * headers)
    interp = low.add(INTERP, 1) if program else 0
    first = 1 + count
    table, order = gnu_hash_table(gnu_hashes(defined), first)
    gnu_hash = low.add(table)
    names = np.concatenate([wanted, defined[order]])
    text = [os.fsencode(name) for name in [*needed, os.path.basename(path), runpath]]
    width = names.shape[1] + 1
    strings = np.zeros((len(names), width), np.uint8)
    strings[:, :-1] = names
    extra = 1 + strings.size
    offsets = [extra + sum(len(t) + 1 for t in text[:i]) for i in range(len(text))]
    strtab = b"\0" + strings.tobytes() + b"".join(t + b"\0" for t in text)
    strtab_at = low.add(strtab)
    code_at = low.add(code, 16)
    symbols = np.zeros(1 + len(names), SYM)
    symbols["f0"][1:] = 1 + width * np.arange(len(names))
    symbols["f1"][1:] = 0x12  # STB_GLOBAL, STT_FUNC
    symbols["f3"][first:] = 1  # any section but SHN_UNDEF
    symbols["f4"][first:] = code_at
    symtab_at = low.add(symbols.tobytes())
    rela_at = -(-(low.start + len(low.data)) // 8) * 8
    high = Parts(-(-(rela_at + count * RELA.itemsize) // PAGE) * PAGE)
    got_at = high.add(bytes(8 * (3 + count)))
    rela = np.zeros(count, RELA)
    rela["f0"] = got_at + 8 * (3 + np.arange(count))
    data = count // 2
    number = np.arange(1, count + 1, dtype=np.uint64)
    kind = np.where(np.arange(count) < data, R_GLOB_DAT, R_JUMP_SLOT).astype(np.uint64)
    rela["f1"] = number << np.uint64(32) | kind
    assert low.add(rela.tobytes()) == rela_at
    plt_at = rela_at + data * RELA.itemsize
    entries = [(DT_NEEDED, offset) for offset in offsets[: len(needed)]]
    entries += [(DT_SONAME, offsets[-2])] if not program else [(DT_DEBUG, 0)]
    entries += [(DT_RUNPATH, offsets[-1])] if runpath else []
    entries += [(DT_INIT, code_at)] if init else []
    entries += [(DT_GNU_HASH, gnu_hash), (DT_STRTAB, strtab_at), (DT_SYMTAB, symtab_at)]
    entries += [(DT_STRSZ, len(strtab)), (DT_SYMENT, SYM.itemsize), (DT_PLTGOT, got_at)]
    if count:
        size = (count - data) * RELA.itemsize
        entries += [(DT_PLTRELSZ, size), (DT_PLTREL, DT_RELA), (DT_JMPREL, plt_at)]
        entries += [
            (DT_RELA, rela_at),
            (DT_RELASZ, data * RELA.itemsize),
            (DT_RELAENT, RELA.itemsize),
        ]
    entries += [
        (DT_FLAGS, DF_BIND_NOW),
        (DT_FLAGS_1, DF_1_NOW | (DF_1_INITFIRST if initfirst else 0)),
        (0, 0),
    ]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    dynamic_at = high.add(dynamic, 16)
    rows = (
        [(PT_PHDR, 4, 64, 56 * headers, 8), (PT_INTERP, 4, interp, len(INTERP), 1)]
        if program
        else []
    )
    rows += [
        (PT_LOAD, 5, 0, low.start + len(low.data), PAGE),
        (PT_LOAD, 6, high.start, len(high.data), PAGE),
    ]
    rows += [(PT_DYNAMIC, 6, dynamic_at, len(dynamic), 8), (PT_GNU_STACK, 6, 0, 0, 16)]
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, code_at if program else 0, 64, 0, 0, 64, 56, headers, 64, 0, 0
    )
    for kind_of, flags, at, size, align in rows:
        # File offset and address are the same number everywhere.
        head += struct.pack("<IIQQQQQQ", kind_of, flags, at, at, at, size, size, align)
    with open(path, "wb") as file:
        file.write(head + low.data)
        file.seek(high.start)
        file.write(high.data)
    os.chmod(path, 0o755)


def no_names(width: int = 1) -> Names:
    """For a file that defines, or refers to, nothing."""
    return np.zeros((0, width), np.uint8)

"""PE images from nothing: what no linker makes (no look-up table, trailing blanks, unsorted names, delay version 1)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

PAGE = 0x1000
Function = int | bytes  # an RVA, or the text of a forwarder


class Writer:
    """The bytes of one section, with places given out as it grows."""

    def __init__(self, rva: int) -> None:
        self.rva = rva
        self.data = bytearray()

    def put(self, data: bytes, align: int = 1) -> int:
        """The RVA of these bytes."""
        self.data += bytes(-len(self.data) % align)
        self.data += data
        return self.rva + len(self.data) - len(data)


def export_directory(w: Writer, name: str, exported: Mapping[bytes, Function], *, base: int = 1, order: Sequence[bytes] | None = None) -> tuple[int, int]:  # fmt: skip
    """(RVA, size); ``order``: of the name table, sorted when not given."""
    names = list(order) if order is not None else sorted(exported)
    start = w.put(bytes(40), 4)
    numbers = {n: i for i, n in enumerate(exported)}
    functions = [v if isinstance(v, int) else w.put(v + b"\0") for v in exported.values()]
    table = w.put(struct.pack(f"<{len(functions)}I", *functions), 4)
    at = [w.put(n + b"\0") for n in names]
    pointers = w.put(struct.pack(f"<{len(at)}I", *at), 4)
    indices = w.put(struct.pack(f"<{len(at)}H", *[numbers[n] for n in names]), 2)
    own = w.put(name.encode() + b"\0")
    head = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, own, base, len(functions), len(names), table, pointers, indices)  # fmt: skip
    offset = start - w.rva
    w.data[offset : offset + 40] = head
    return start, w.rva + len(w.data) - start


def import_directory(w: Writer, needed: Mapping[str, Sequence[bytes | int]], bits: int, *, lookup: bool = True) -> tuple[int, int]:  # fmt: skip
    """(RVA, size); an int is an ordinal; without ``lookup`` the IAT is all there is (Borland)."""
    word, flag = bits // 8, 1 << (bits - 1)
    rows = b""
    for dll, symbols in needed.items():
        values = [flag | s if isinstance(s, int) else w.put(b"\0\0" + s + b"\0", 2) for s in symbols]  # fmt: skip
        thunks = struct.pack(f"<{len(values) + 1}{'Q' if word == 8 else 'I'}", *values, 0)
        table = w.put(thunks, 8) if lookup else 0
        iat = w.put(thunks, 8)
        rows += struct.pack("<IIIII", table, 0, 0, w.put(dll.encode() + b"\0"), iat)
    return w.put(rows + bytes(20), 4), len(rows) + 20


def delay_directory(w: Writer, needed: Mapping[str, Sequence[bytes]], bits: int, base: int, *, version: int = 2) -> tuple[int, int]:  # fmt: skip
    """(RVA, size); version 1 has addresses instead of RVAs."""
    bias = base if version == 1 else 0
    kind = "Q" if bits == 64 else "I"
    rows = b""
    for dll, symbols in needed.items():
        values = [w.put(b"\0\0" + s + b"\0", 2) + bias for s in symbols]
        table = w.put(struct.pack(f"<{len(values) + 1}{kind}", *values, 0), 8)
        iat = w.put(struct.pack(f"<{len(values) + 1}{kind}", *[base + PAGE] * len(values), 0), 8)
        handle = w.put(bytes(8), 8)
        name = w.put(dll.encode() + b"\0")
        fields = [name, handle, iat, table]
        rows += struct.pack("<8I", version - 1, *[f + bias for f in fields], 0, 0, 0)
    return w.put(rows + bytes(32), 4), len(rows) + 32


def image(
    name: str,
    exported: Mapping[bytes, Function] | None = None,
    needed: Mapping[str, Sequence[bytes | int]] | None = None,
    *,
    bits: int = 64,
    machine: int | None = None,
    base: int = 0x1_8000_0000,
    lookup: bool = True,
    order: Sequence[bytes] | None = None,
    delayed: Mapping[str, Sequence[bytes]] | None = None,
    delay_version: int = 2,
    dll: bool = True,
    stamp: int = 0x5F000000,
) -> bytes:
    """A DLL of two sections: 16 bytes of code at 0x1000, and everything else."""
    if bits == 32:
        base &= 0x7FFF0000
        base = base or 0x10000000
    w = Writer(2 * PAGE)
    directories = [(0, 0)] * 16
    if exported is not None:
        directories[0] = export_directory(w, name, exported, order=order)
    if needed:
        directories[1] = import_directory(w, needed, bits, lookup=lookup)
    if delayed:
        directories[13] = delay_directory(w, delayed, bits, base, version=delay_version)
    raw = bytes(w.data) + bytes(-len(w.data) % 512)
    code = b"\xc3" * 16 + bytes(496)
    size = 2 * PAGE + (len(raw) + PAGE - 1) // PAGE * PAGE
    kind = 0x20B if bits == 64 else 0x10B
    fields: list[int] = [kind, 14, 0, 512, len(raw), 0, 0, PAGE]
    form = "<HBBIIIII"
    if bits == 32:
        fields.append(2 * PAGE)
        form += "I"
    word = "Q" if bits == 64 else "I"
    fields += [base, PAGE, 512, 6, 0, 0, 0, 6, 0, 0, max(size, 3 * PAGE), 512, 0, 3, 0x140]
    form += f"{word}IIHHHHHHIIIIHH" + word * 4 + "II"
    fields += [1 << 20, PAGE, 1 << 20, PAGE, 0, 16]
    optional = struct.pack(form, *fields) + b"".join(struct.pack("<II", *d) for d in directories)
    number = machine or (0x8664 if bits == 64 else 0x14C)
    coff = struct.pack("<HHIIIHH", number, 2, stamp, 0, 0, len(optional), 0x22 | (0x2000 if dll else 0))  # fmt: skip
    sections = struct.pack("<8sIIIIIIHHI", b".text", 16, PAGE, 512, 512, 0, 0, 0, 0, 0x60000020)
    sections += struct.pack("<8sIIIIIIHHI", b".data", max(len(w.data), 1), 2 * PAGE, len(raw) or 512, 1024, 0, 0, 0, 0, 0xC0000040)  # fmt: skip
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + coff + optional + sections
    assert len(head) <= 512
    return head + bytes(512 - len(head)) + code + (raw or bytes(512))

"""The anchor: the program that the guest's ld.so believes to start, while ours is being linked beside it.

Only a C library's own dynamic linker can initialise it. So it is given a program that needs nothing but that library, and
whose thread-local storage has room for everybody's. The program never exists as a file: it is written into the guest's
memory, and the auxiliary vector leads ld.so to it. When ld.so jumps to its entry point, the C library is ready.

    headers, interpreter's name, hash table, symbol, strings, dynamic section, code; then the thread-local image
"""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import PAGE
from rtld.core.space import page_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.base import Arch

# <elf.h>
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_PHDR, _PT_TLS = 1, 2, 3, 6, 7
_DT_NULL, _DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_DEBUG = (
    0,
    1,
    4,
    5,
    6,
    10,
    11,
    21,
)
_ALL = 7  # PF_R, PF_W, PF_X: ld.so writes to the dynamic section
TLS_ALIGN = 64


class Anchor:
    """An anchor for addresses from *base* on. ``image`` is to be written there, ``size`` bytes are to be mapped.

    interp, needed  paths of the guest's;  tls: bytes of thread-local storage
    entry           where ld.so will jump to;  debug: the address of the word that will lead to r_debug
    tls_image       the address of what new threads' blocks begin as
    """

    def __init__(
        self, arch: Arch, order: str, base: int, interp: bytes, needed: Sequence[bytes], tls: int
    ) -> None:
        self.base = base
        self._wide = arch.bits == 64
        self._order = order
        self._word = "Q" if self._wide else "I"
        self.phnum = 5
        self.phent = 56 if self._wide else 32
        header = 64 if self._wide else 52
        self.phdr = base + header
        strings = b"\0" + b"".join([name + b"\0" for name in needed])
        offsets = [1 + sum(len(n) + 1 for n in needed[:i]) for i in range(len(needed))]
        interp_at = header + self.phent * self.phnum
        hash_at = _up(interp_at + len(interp) + 1, 16)
        symbol_at = _up(hash_at + 4 * arch.hash_entry_size, 16)
        symbol_size = 24 if self._wide else 16
        strings_at = symbol_at + symbol_size
        dynamic_at = _up(strings_at + len(strings), 16)
        entries = [(_DT_NEEDED, offset) for offset in offsets]
        entries += [
            (_DT_HASH, base + hash_at), (_DT_STRTAB, base + strings_at), (_DT_SYMTAB, base + symbol_at),
            (_DT_STRSZ, len(strings)), (_DT_SYMENT, symbol_size), (_DT_DEBUG, 0), (_DT_NULL, 0),
        ]  # fmt: skip
        word = arch.bits // 8
        dynamic = struct.pack(
            f"{order}{2 * len(entries)}{self._word}", *[n for e in entries for n in e]
        )
        self.debug = base + dynamic_at + 2 * word * (len(entries) - 2) + word
        code_at = _up(dynamic_at + len(dynamic), 16)
        self.entry = base + code_at
        self.tls_size = _up(tls, TLS_ALIGN)
        self.tls_image = base + page_up(code_at + 64)
        self.size = page_up(self.tls_image - base + self.tls_size)
        segments = [
            self._segment(_PT_PHDR, self.phdr, self.phent * self.phnum),
            self._segment(_PT_INTERP, base + interp_at, len(interp) + 1),
            self._segment(_PT_LOAD, base, self.size, PAGE),
            self._segment(_PT_DYNAMIC, base + dynamic_at, len(dynamic), word),
            self._segment(_PT_TLS, self.tls_image, self.tls_size, TLS_ALIGN),
        ]
        image = bytearray(code_at + 64)
        image[header : header + self.phent * self.phnum] = b"".join(segments)
        image[interp_at : interp_at + len(interp)] = interp
        letter = {4: "I", 8: "Q"}[arch.hash_entry_size]
        # One bucket, one symbol, the empty one; both lead nowhere.
        hashes = struct.pack(f"{order}4{letter}", 1, 1, 0, 0)
        image[hash_at : hash_at + len(hashes)] = hashes
        image[strings_at : strings_at + len(strings)] = strings
        image[dynamic_at : dynamic_at + len(dynamic)] = dynamic
        self.image = bytes(image)

    def _segment(self, kind: int, address: int, size: int, align: int = 1) -> bytes:
        offset = address - self.base
        if self._wide:
            return struct.pack(
                f"{self._order}IIQQQQQQ", kind, _ALL, offset, address, address, size, size, align
            )
        return struct.pack(
            f"{self._order}IIIIIIII", kind, offset, address, address, size, size, _ALL, align
        )


def _up(value: int, align: int) -> int:
    return value + -value % align


def initial_stack(
    order: str,
    bits: int,
    top: int,
    argv: Sequence[bytes],
    env: Sequence[bytes],
    auxv: Sequence[tuple[int, int | bytes]],
) -> tuple[int, bytes]:
    """(stack pointer, bytes from there to *top*) as a kernel starts a program: argc, argv, envp, auxv, then what they lead to."""
    word, letter = (8, "Q") if bits == 64 else (4, "I")
    blob = b""

    def place(data: bytes) -> int:
        nonlocal blob
        blob = data + blob
        return top - len(blob)

    arguments = [place(each + b"\0") for each in argv]
    variables = [place(each + b"\0") for each in env]
    vector = [
        (kind, place(value + b"\0") if isinstance(value, bytes) else value) for kind, value in auxv
    ]
    words = [len(argv), *arguments, 0, *variables, 0, *[n for pair in vector for n in pair], 0, 0]
    table = struct.pack(f"{order}{len(words)}{letter}", *words)
    sp = (top - len(blob) - len(table)) & -16
    return sp, table + bytes(top - len(blob) - sp - word * len(words)) + blob

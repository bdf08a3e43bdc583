"""The anchor: the program that the guest's ld.so believes to start, while ours is being linked beside it.

libc and its dynamic linker are one piece of software in two files, and only that ld.so can initialise libc. So it is given a
program that needs nothing but members of that family, and whose thread-local storage has room for everybody's. It never is a
file, and has no code: its entry point, its initialiser and its termination function are addresses that mean Python.

    header, program headers, interpreter's name, dynamic section, hash, symbol, strings, words     all of it writable
    TLS image                                                                     what new threads begin with

Its one symbol is _IO_stdin_used, which libc asks for before we come: on i386 a program without it gets the standard streams
of before 1998 (glibc libio/oldstdfiles.c).

Its load bias is 0: it is made for the address it gets (System V gABI 4 and 5; <elf.h>).
"""

from __future__ import annotations

import struct

from rtld.core.space import page_up
from rtld.elf import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.base import Arch

#: e_flags that ld.so checks: ARM's EABI 5 with hard float; RISC-V's RVC and double float.
FLAGS = {"arm": 0x05000400, "riscv64": 5}


#: What every program since glibc 2.1 defines: where libc does not find it, it takes stdout and its like for the old ones
#: (libio/oldstdfiles.c; on i386, MIPS).
STDIN_USED = b"_IO_stdin_used"


class Anchor:
    """The bytes for one address. *tls*: size, alignment, and what its address is modulo that; *old*: without the symbol."""

    def __init__(
        self,
        arch: Arch,
        order: str,
        base: int,
        interp: bytes,
        needed: Sequence[bytes],
        tls: tuple[int, int, int],
        functions: tuple[int, int],
        flags: int | None = None,
        *,
        old: bool = False,
    ) -> None:
        flags = FLAGS.get(arch.name, 0) if flags is None or arch.name in FLAGS else flags
        self.arch = arch
        self.order = order
        self.base = base
        self._wide = arch.bits == 64
        word = arch.word
        ehsize, phentsize = (64, 56) if self._wide else (52, 32)
        self.phdr, self.phent, self.phnum = base + ehsize, phentsize, 6
        at = ehsize + phentsize * self.phnum
        at_interp = at
        at = -(-(at + len(interp) + 1) // 16) * 16
        strings = b"\0" + b"".join(name + b"\0" for name in (*needed, STDIN_USED))
        at_words = at  # the two arrays, of one function each
        at_got = at_words + 2 * word  # MIPS: two words of ld.so's
        at_symbol = at_words + 4 * word
        at_hash = at_symbol + 2 * (24 if self._wide else 16)
        entry = arch.hash_entry_size
        at_strings = at_hash + 5 * entry
        at_dynamic = -(-(at_strings + len(strings)) // 16) * 16
        init, fini = base + at_words, base + at_words + word
        names = []
        offset = 1
        for name in needed:
            names.append((t.DT_NEEDED, offset))
            offset += len(name) + 1
        dynamic = [
            *names, (t.DT_HASH, base + at_hash), (t.DT_STRTAB, base + at_strings), (t.DT_SYMTAB, base + at_symbol),
            (t.DT_STRSZ, len(strings)), (t.DT_SYMENT, 24 if self._wide else 16), (t.DT_INIT_ARRAY, init),
            (t.DT_INIT_ARRAYSZ, word), (t.DT_FINI_ARRAY, fini), (t.DT_FINI_ARRAYSZ, word), (t.DT_DEBUG, 0),
            (t.DT_NULL, 0),
        ]  # fmt: skip
        if arch.implicit_got is not None:
            dynamic[-1:] = [
                (t.DT_PLTGOT, base + at_got), (t.DT_MIPS_RLD_VERSION, 1), (t.DT_MIPS_FLAGS, 2), (t.DT_MIPS_BASE_ADDRESS, base),
                (t.DT_MIPS_LOCAL_GOTNO, 2), (t.DT_MIPS_SYMTABNO, 2), (t.DT_MIPS_GOTSYM, 2), (t.DT_MIPS_UNREFEXTNO, 2),
                (t.DT_MIPS_RLD_MAP, 0), (t.DT_NULL, 0),
            ]  # fmt: skip
        kinds = [kind for kind, _ in dynamic]
        self.debug = base + at_dynamic + 2 * word * kinds.index(t.DT_DEBUG) + word
        self.dynamic = base + at_dynamic
        end = at_dynamic + 2 * word * len(dynamic)
        size, align, first = tls
        at_tls = end + (first - (base + end)) % align
        self.tls_size = size
        self.tls_image = base + at_tls
        self.size = page_up(at_tls + size)
        head = bytearray(self.size)
        ident = b"\x7fELF" + bytes((2 if self._wide else 1, 1 if order == "<" else 2, 1)) + bytes(9)
        head[:16] = ident
        form = order + ("HHIQQQIHHHHHH" if self._wide else "HHIIIIIHHHHHH")
        struct.pack_into(
            form, head, 16, t.ET_DYN, arch.machine, 1, base, ehsize, 0, flags, ehsize, phentsize,
            self.phnum, 0, 0, 0,
        )  # fmt: skip
        rows = (
            (t.PT_PHDR, 4, ehsize, phentsize * self.phnum, 8),
            (t.PT_INTERP, 4, at_interp, len(interp) + 1, 1),
            (t.PT_LOAD, 6, 0, self.size, 4096),
            (t.PT_DYNAMIC, 6, at_dynamic, 2 * word * len(dynamic), word),
            (t.PT_TLS, 4, at_tls, size, align),
            (t.PT_GNU_STACK, 6, 0, 0, 16),
        )
        for i, (kind, flags, where, length, alignment) in enumerate(rows):
            place = base + where if kind != t.PT_GNU_STACK else 0
            self._header(head, ehsize + i * phentsize, kind, flags, where, place, length, alignment)
        head[at_interp : at_interp + len(interp)] = interp
        letter = "Q" if self._wide else "I"
        struct.pack_into(f"{order}2{letter}", head, at_words, *functions)
        struct.pack_into(f"{order}I", head, at_words + 2 * word, 0x20001)
        # One bucket: of nothing (symbol 0), or of symbol 1.
        table = (1, 2, 0 if old else 1, 0, 0)
        struct.pack_into(f"{order}5{'Q' if entry == 8 else 'I'}", head, at_hash, *table)
        label, value, info = offset, base + at_words + 2 * word, t.STB_GLOBAL << 4 | t.STT_OBJECT
        if self._wide:
            struct.pack_into(f"{order}IBBHQQ", head, at_symbol + 24, label, info, 0, 1, value, 4)
        else:
            struct.pack_into(f"{order}IIIBBH", head, at_symbol + 16, label, value, 4, info, 0, 1)
        head[at_strings : at_strings + len(strings)] = strings
        if arch.implicit_got is not None:
            # ld.so does not write into this dynamic section: DT_MIPS_RLD_MAP says where it tells its r_debug.
            dynamic[kinds.index(t.DT_MIPS_RLD_MAP)] = (t.DT_MIPS_RLD_MAP, self.debug)
            struct.pack_into(f"{order}2{letter}", head, at_got, 0, arch.implicit_got.gnu_mask)
        flat = [number for pair in dynamic for number in pair]
        struct.pack_into(f"{order}{len(flat)}{letter}", head, at_dynamic, *flat)
        self.image = bytes(head)

    def _header(
        self,
        head: bytearray,
        at: int,
        kind: int,
        flags: int,
        where: int,
        place: int,
        length: int,
        align: int,
    ) -> None:
        if self._wide:
            row = (kind, flags, where, place, place, length, length, align)
            struct.pack_into(self.order + "IIQQQQQQ", head, at, *row)
        else:
            row = (kind, where, place, place, length, length, flags, align)
            struct.pack_into(self.order + "IIIIIIII", head, at, *row)

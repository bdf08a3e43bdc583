"""The smallest executable that works off a list of system calls: ELF header, code, state, list, data.

    +0x000  ELF header, PT_LOAD (readable, writable, executable), PT_GNU_STACK
    +0x0c0  ENTRY and LOOP of `machine.py`
    +0x600  state: what ENTRY finds on the stack (STATE_* below)
    +0x880  the list, then its data

The file is mapped at *base*; ENTRY copies it to the anonymous pages at *base* + *size*, where it then runs.
It is ET_EXEC so that the kernel neither chooses a place for it nor a place that the program may want.
"""

from __future__ import annotations

import struct

from rtld.backends.child import machine
from rtld.backends.child.calls import RECORD, CallList
from rtld.errors import NoSpace

# fmt: off
CODE            = 0x0C0
STATE_SP        = 0x600   # the stack pointer at entry
STATE_AUXV      = 0x608   # address of the auxiliary vector
STATE_ARGV0     = 0x610   # argv[0], where the argument strings begin
STATE_ENVP0     = 0x618   # envp[0] or 0
STATE_AUXV_SIZE = 0x620   # in bytes, with AT_NULL
STATE_ARGV      = 0x628   # address of argv
STATE_ENVP      = 0x630   # address of envp
STATE_NONE      = 0x638   # 0
STATE_AUX       = 0x640   # + 8 * type: address of the value of that entry
LIST            = 0x880
# fmt: on

PAGE = 4096
# Where nothing of a program usually is: below the mmap area, above what ET_EXEC is linked for.
_BASES = {
    64: (0x7000000000, 0x6000000000, 0x5000000000, 0x100000000),
    32: (0x30000000, 0x60000000, 0x90000000),
}


class Anchor:
    """An anchor being written: fill ``calls``, then take ``image()``."""

    def __init__(
        self, bits: int, records: int, data: int, avoid: tuple[tuple[int, int], ...] = ()
    ) -> None:
        """Room for *records* records and *data* bytes; outside the address ranges *avoid*."""
        self.bits = bits
        self.size = -(-(LIST + RECORD * records + data) // PAGE) * PAGE
        for self.base in _BASES[bits]:
            end = self.base + 2 * self.size
            if all(end <= low or high <= self.base for low, high in avoid):
                break
        else:
            raise NoSpace("the program leaves no room for its loader")
        self.home = self.base + self.size  # where the copy stands that runs
        self.calls = CallList(self.home + LIST, records, bits)

    def state(self, offset: int) -> int:
        """The address of one of STATE_*."""
        return self.home + offset

    def aux(self, number: int) -> int:
        """The address of the pointer to the value of AT_* *number*."""
        return self.home + STATE_AUX + 8 * number

    def image(self, stack: int | None = 6) -> bytes:
        """The file.  *stack*: p_flags of its PT_GNU_STACK; None: without, as very old programs."""
        content = self.calls.image()
        if LIST + len(content) > self.size:
            raise AssertionError("the anchor's data is larger than what was reserved for it")
        if self.bits == 64:
            entry, loop = machine.X86_64_ENTRY, machine.X86_64_LOOP
            header, segment, cpu = "<HHIQQQIHHHHHH", "<IIQQQQQQ", 62
        else:
            entry, loop = machine.I386_ENTRY, machine.I386_LOOP
            header, segment, cpu = "<HHIIIIIHHHHHH", "<IIIIIIII", 3
        sizes = struct.calcsize(header) + 16, struct.calcsize(segment)
        count = 1 if stack is None else 2
        image = bytearray(self.size)
        image[:16] = b"\x7fELF" + bytes((self.bits // 32, 1, 1)) + bytes(9)
        struct.pack_into(
            header, image, 16,
            2, cpu, 1, self.base + CODE, sizes[0], 0, 0, sizes[0], sizes[1], count, 0, 0, 0,
        )  # fmt: skip
        place = (self.base, self.base, self.size, 2 * self.size)
        load = (1, 7, 0, *place, PAGE) if self.bits == 64 else (1, 0, *place, 7, PAGE)
        struct.pack_into(segment, image, sizes[0], *load)
        if stack is not None:
            flags = (stack, 0, 0, 0, 0, 0) if self.bits == 64 else (0, 0, 0, 0, 0, stack)
            struct.pack_into(segment, image, sizes[0] + sizes[1], 0x6474E551, *flags, 16)
        code = entry.code + loop.code
        image[CODE : CODE + len(code)] = code
        # An entry that the kernel does not give reads as a word that is 0.
        image[STATE_AUX : STATE_AUX + 512] = struct.pack("<Q", self.home + STATE_NONE) * 64
        image[LIST : LIST + len(content)] = content
        return bytes(image)

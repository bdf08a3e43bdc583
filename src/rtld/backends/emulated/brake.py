"""Stopping an emulated CPU from outside at a place that is known: the brake.

When another thread calls emu_stop, Unicorn leaves the program counter where some earlier block began, if blocks were chained
since (its cpu_tb_exec does not restore it once a stop has been asked for): what ran since would run again. So nobody else
stops it. Every block begins by looking at a byte, in a few instructions of machine code; if that is set, it stops the CPU
itself, and there the program counter is right.
"""

from __future__ import annotations

import ctypes
import mmap
import os

from rtld.arch.base import Stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: This machine's CPU -> void block(uc, address, size, brake): brake[0]: the byte; brake + 8: address of uc_emu_stop.
CODE = {
    "x86_64": Stub("""
        80 39 00     cmpb $0, (%rcx)
        75 01        jne  0x6
        c3           ret
        ff 61 08     jmp  *8(%rcx)
    """),
    "aarch64": Stub("""
        64 00 40 39  ldrb w4, [x3]
        44 00 00 35  cbnz w4, 0xc
        c0 03 5f d6  ret
        64 04 40 f9  ldr  x4, [x3, #8]
        80 00 1f d6  br   x4
    """),
}
_DATA = 64  # where the byte is, behind the code
_HOOK_BLOCK = 1 << 3


class Brake:
    """``pull`` stops the CPU before its next block; ``release`` before it is run again. *works*: False without machine code."""

    def __init__(self, uc: Any, library: Any) -> None:
        code = CODE.get(os.uname().machine)
        self.works = False
        if code is None:
            return
        try:
            rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            # Private: after a fork each process has a brake of its own.
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            self._memory = mmap.mmap(-1, mmap.PAGESIZE, flags, rights)
        except OSError:
            return  # a process that may not make code
        self._memory.write(code.code)
        stop = ctypes.cast(library.uc_emu_stop, ctypes.c_void_p).value or 0
        self._memory[_DATA + 8 : _DATA + 16] = stop.to_bytes(8, "little")
        at = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        handle = ctypes.c_size_t()
        everywhere = (ctypes.c_uint64(1), ctypes.c_uint64(0))
        error = library.uc_hook_add(
            uc._uch, ctypes.byref(handle), ctypes.c_int(_HOOK_BLOCK), ctypes.c_void_p(at), ctypes.c_void_p(at + _DATA),
            *everywhere,
        )  # fmt: skip
        self.works = error == 0

    def pull(self) -> None:
        self._memory[_DATA] = 1

    def release(self) -> None:
        if self.works:
            self._memory[_DATA] = 0

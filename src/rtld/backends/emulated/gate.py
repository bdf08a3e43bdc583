"""The way from the CPU to Python and back: an exception or a system call, and the registers that it is about.

A call of Unicorn's library costs Python 0.4 us, and a hook has to read a dozen registers and to write one. So what Unicorn
calls is a piece of machine code: it has the registers written into memory, calls Python, and has those put back that Python
names. Where there can be no machine code, Python does the same.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from rtld.arch.base import Stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rtld.backends.emulated.libunicorn import Uc

# fmt: off
#: This machine's CPU -> void syscall(uc, block), and void interrupt(uc, number, block) behind it. The block, in words: number;
#: registers to read, their places, how many; uc_reg_read_batch; Python; registers to write, their places; uc_reg_write_batch.
#: Python returns which it wants written: 0x100 times the first one, plus how many.
CODE = {
    "x86_64": Stub("""
        48 89 f2        mov  %rsi, %rdx
        83 ce ff        or   $-1, %esi
        53              push %rbx
        57              push %rdi
        50              push %rax
        48 89 d3        mov  %rdx, %rbx
        89 33           mov  %esi, (%rbx)
        48 8b 73 08     mov  8(%rbx), %rsi
        48 8b 53 10     mov  16(%rbx), %rdx
        8b 4b 18        mov  24(%rbx), %ecx
        ff 53 20        call *32(%rbx)
        ff 53 28        call *40(%rbx)
        85 c0           test %eax, %eax
        74 1e           je   .+32
        0f b6 c8        movzbl %al, %ecx
        c1 e8 08        shr  $8, %eax
        48 8b 73 30     mov  48(%rbx), %rsi
        48 8d 34 86     lea  (%rsi,%rax,4), %rsi
        48 8b 53 38     mov  56(%rbx), %rdx
        48 8d 14 c2     lea  (%rdx,%rax,8), %rdx
        48 8b 7c 24 08  mov  8(%rsp), %rdi
        ff 53 40        call *64(%rbx)
        58              pop  %rax
        5f              pop  %rdi
        5b              pop  %rbx
        c3              ret
    """),
    "aarch64": Stub("""
        e2 03 01 aa     mov  x2, x1
        01 00 80 12     mov  w1, #-1
        fd 7b be a9     stp  x29, x30, [sp, #-32]!
        f3 03 01 a9     stp  x19, x0, [sp, #16]
        f3 03 02 aa     mov  x19, x2
        61 02 00 b9     str  w1, [x19]
        61 8a 40 a9     ldp  x1, x2, [x19, #8]
        63 1a 40 b9     ldr  w3, [x19, #24]
        64 12 40 f9     ldr  x4, [x19, #32]
        80 00 3f d6     blr  x4
        64 16 40 f9     ldr  x4, [x19, #40]
        80 00 3f d6     blr  x4
        20 01 00 34     cbz  w0, .+36
        03 1c 00 12     and  w3, w0, #0xff
        00 7c 08 53     lsr  w0, w0, #8
        61 0a 43 a9     ldp  x1, x2, [x19, #48]
        21 08 00 8b     add  x1, x1, x0, lsl #2
        42 0c 00 8b     add  x2, x2, x0, lsl #3
        e0 0f 40 f9     ldr  x0, [sp, #24]
        64 22 40 f9     ldr  x4, [x19, #64]
        80 00 3f d6     blr  x4
        f3 0b 40 f9     ldr  x19, [sp, #16]
        fd 7b c2 a8     ldp  x29, x30, [sp], #32
        c0 03 5f d6     ret
    """),
}
#: Where ``interrupt`` begins in it.
INTERRUPT = {"x86_64": 6, "aarch64": 8}
# fmt: on

_CALLED = ctypes.CFUNCTYPE(ctypes.c_int)
_SYSCALL = ctypes.CFUNCTYPE(None)
_INTERRUPT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)
_BLOCKS, _BLOCK = 512, 128  # where the first block is, behind the code; bytes of one

#: What a handler returns: nothing is to be written, the first of ``results``, the second one, both.
NOTHING, FIRST, SECOND, BOTH = 0, 0x001, 0x101, 0x002


class Gate:
    """What hooks of one CPU find and leave. *read*, *write*: numbers of registers.

    number   of the exception that has happened
    values   the registers' values, in the order of *read*; the lowest 64 bits of each
    results  what is to be written, in the order of *write*
    """

    def __init__(self, uc: Uc, read: Sequence[int], write: Sequence[int]) -> None:
        self._uc = uc
        c = uc.library.c
        cells = (ctypes.c_uint64 * (len(read) + len(write)))()
        view = memoryview(cells).cast("B").cast("Q")
        self.values, self.results = view[: len(read)], view[len(read) :]
        at = ctypes.addressof(cells)
        places = (ctypes.c_void_p * len(cells))(*[at + 8 * i for i in range(len(cells))])
        numbers = (ctypes.c_int * len(cells))(*read, *write)
        self._kept: list[object] = [cells, places, numbers]  # their addresses are in use
        first, first_place = ctypes.addressof(numbers), ctypes.addressof(places)
        self._reading = (uc.handle, first, first_place, len(read))
        self._writing = first + 4 * len(read), first_place + 8 * len(read)
        self._read, self._write = c.uc_reg_read_batch, c.uc_reg_write_batch
        self._memory = self._make_code()
        self._used = 0
        self.number: Any = [0]

    @staticmethod
    def _make_code() -> mmap.mmap | None:
        code = CODE.get(os.uname().machine)
        if code is None:
            return None
        try:
            # Private: after a fork each process has its own.
            rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            memory = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, rights)
        except OSError:
            return None  # a process that may not make code
        memory.write(code.code)
        return memory

    def on_interrupt(self, kind: int, handler: Callable[[], int]) -> None:
        """*handler* is told of every exception."""
        if self._memory is not None:
            number, code, block = self._block(handler)
            self.number = number
            self._uc.hook_add(kind, code + INTERRUPT[os.uname().machine], block)
            return

        def interrupt(_handle: int, number: int) -> None:
            self.number[0] = number
            self._pass(handler)

        self._uc.hook_add(kind, _INTERRUPT(interrupt))

    def on_instruction(self, kind: int, instruction: int, handler: Callable[[], int]) -> None:
        """*handler* is told of every *instruction* of that number."""
        more = (ctypes.c_int(instruction),)
        if self._memory is not None:
            _number, code, block = self._block(handler)
            self._uc.hook_add(kind, code, block, more=more)
        else:
            self._uc.hook_add(kind, _SYSCALL(lambda: self._pass(handler)), more=more)

    def _block(self, handler: Callable[[], int]) -> tuple[memoryview, int, int]:
        """(where the number will be, address of the code, address of the block)."""
        assert self._memory is not None
        library = self._uc.library
        callback = _CALLED(self._guarded(handler))
        self._kept.append(callback)
        at = _BLOCKS + _BLOCK * self._used
        self._used += 1
        _, first, places, count = self._reading
        words = (
            0, first, places, count, library.address("uc_reg_read_batch"),
            ctypes.cast(callback, ctypes.c_void_p).value, *self._writing, library.address("uc_reg_write_batch"),
        )  # fmt: skip
        struct.pack_into("9Q", self._memory, at, *words)
        code = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        return memoryview(self._memory)[at : at + 4].cast("I"), code, code + at

    def _guarded(self, handler: Callable[[], int]) -> Callable[[], int]:
        failed = self._uc.failed

        def called() -> int:
            try:
                return handler()
            except BaseException as error:
                failed(error)
                return NOTHING

        return called

    def read(self) -> None:
        """Have ``values`` those of now."""
        self._read(*self._reading)

    def _pass(self, handler: Callable[[], int]) -> None:
        """What the machine code does."""
        self.read()
        wanted = self._guarded(handler)()
        if wanted:
            first = wanted >> 8
            registers, places = self._writing
            self._write(self._uc.handle, registers + 4 * first, places + 8 * first, wanted & 0xFF)

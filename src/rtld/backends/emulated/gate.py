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
from functools import partial

from rtld.arch.base import Stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtld.backends.emulated.libunicorn import Uc

# fmt: off
#: This machine's CPU -> void instruction(uc, block), and void interrupt(uc, number, block) behind it. The block, in words:
#: registers to read, their places, how many; uc_reg_read_batch; Python; registers to write, their places; uc_reg_write_batch;
#: number. Python returns which it wants written: 0x100 times the first one, plus how many.
CODE = {
    "x86_64": Stub("""
        48 89 f2        mov  %rsi, %rdx
        83 ce ff        or   $-1, %esi
        53              push %rbx
        57              push %rdi
        50              push %rax
        48 89 d3        mov  %rdx, %rbx
        89 73 40        mov  %esi, 64(%rbx)
        48 8b 33        mov  (%rbx), %rsi
        48 8b 53 08     mov  8(%rbx), %rdx
        8b 4b 10        mov  16(%rbx), %ecx
        ff 53 18        call *24(%rbx)
        ff 53 20        call *32(%rbx)
        85 c0           test %eax, %eax
        74 1e           je   .+32
        0f b6 c8        movzbl %al, %ecx
        c1 e8 08        shr  $8, %eax
        48 8b 73 28     mov  40(%rbx), %rsi
        48 8d 34 86     lea  (%rsi,%rax,4), %rsi
        48 8b 53 30     mov  48(%rbx), %rdx
        48 8d 14 c2     lea  (%rdx,%rax,8), %rdx
        48 8b 7c 24 08  mov  8(%rsp), %rdi
        ff 53 38        call *56(%rbx)
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
        61 42 00 b9     str  w1, [x19, #64]
        61 0a 40 a9     ldp  x1, x2, [x19]
        63 12 40 b9     ldr  w3, [x19, #16]
        64 0e 40 f9     ldr  x4, [x19, #24]
        80 00 3f d6     blr  x4
        64 12 40 f9     ldr  x4, [x19, #32]
        80 00 3f d6     blr  x4
        20 01 00 34     cbz  w0, .+36
        03 1c 00 12     and  w3, w0, #0xff
        00 7c 08 53     lsr  w0, w0, #8
        61 8a 42 a9     ldp  x1, x2, [x19, #40]
        21 08 00 8b     add  x1, x1, x0, lsl #2
        42 0c 00 8b     add  x2, x2, x0, lsl #3
        e0 0f 40 f9     ldr  x0, [sp, #24]
        64 1e 40 f9     ldr  x4, [x19, #56]
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
_INSTRUCTION = ctypes.CFUNCTYPE(None)
_INTERRUPT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)
_BLOCK = 512  # where the block is, behind the code
_NUMBER = 64  # where the number is in it; what is read and written follows

#: The number of an instruction that has a hook of its own.
INSTRUCTION = 0xFFFFFFFF

#: What a handler returns: nothing is to be written, the first of ``results``, the second one, both.
NOTHING, FIRST, SECOND, BOTH = 0, 0x001, 0x101, 0x002


class Gate:
    """What hooks of one CPU find and leave. *read*, *write*: numbers of registers. *handler* is called by all of its hooks.

    ``found()`` is the number of the exception, or INSTRUCTION, and then the registers' values, in the order of *read*: the
    lowest 64 bits of each. ``results`` is what is to be written, in the order of *write*; the handler returns which of it.
    It must not raise anything.
    """

    def __init__(
        self, uc: Uc, read: Sequence[int], write: Sequence[int], handler: Callable[[], int]
    ) -> None:
        self._uc = uc
        self._handler = handler
        self._code = CODE.get(os.uname().machine)
        self._memory = self._make_memory()
        self._at = at = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        values = _BLOCK + _NUMBER + 8
        count = len(read) + len(write)
        places = (ctypes.c_void_p * count)(*range(at + values, at + values + 8 * count, 8))
        numbers = (ctypes.c_int * count)(*read, *write)
        callback = _CALLED(handler)
        self._kept = places, numbers, callback  # their addresses are in use
        words = memoryview(self._memory)[_BLOCK : values + 8 * count].cast("Q")
        self.results = words[-len(write) :]
        form = struct.Struct(f"{1 + len(read)}Q")
        #: (number, values...).
        self.found: Callable[[], tuple[int, ...]] = partial(
            form.unpack_from, self._memory, _BLOCK + _NUMBER
        )
        first, first_place = ctypes.addressof(numbers), ctypes.addressof(places)
        self._reading = uc.handle, first, first_place, len(read)
        self._writing = first + 4 * len(read), first_place + 8 * len(read)
        library = uc.library
        block = (
            first, first_place, len(read), library.address("uc_reg_read_batch"), ctypes.cast(callback, ctypes.c_void_p).value,
            *self._writing, library.address("uc_reg_write_batch"),
        )  # fmt: skip
        struct.pack_into("8Q", self._memory, _BLOCK, *block)

    def _make_memory(self) -> mmap.mmap:
        """A page, with the code in it where there can be code. Private: after a fork each process has its own."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        if self._code is not None:
            try:
                memory = mmap.mmap(-1, mmap.PAGESIZE, flags, rights | mmap.PROT_EXEC)
                memory.write(self._code.code)
                return memory
            except OSError:
                self._code = None  # a process that may not make code
        return mmap.mmap(-1, mmap.PAGESIZE, flags, rights)

    def read(self) -> tuple[int, ...]:
        """What ``found`` gives, with the registers as they are now."""
        self._uc.library.c.uc_reg_read_batch(*self._reading)
        return self.found()

    def on_interrupt(self, kind: int) -> None:
        """From now on exceptions come here."""
        if self._code is not None:
            code = self._at + INTERRUPT[os.uname().machine]
            self._uc.hook_add(kind, code, self._at + _BLOCK)
        else:
            self._uc.hook_add(kind, _INTERRUPT(lambda _handle, number: self._pass(number)))

    def on_instruction(self, kind: int, instruction: int) -> None:
        """So does the *instruction* of that number."""
        more = (ctypes.c_int(instruction),)
        if self._code is not None:
            self._uc.hook_add(kind, self._at, self._at + _BLOCK, more=more)
        else:
            self._uc.hook_add(kind, _INSTRUCTION(lambda: self._pass(INSTRUCTION)), more=more)

    def _pass(self, number: int) -> None:
        """What the machine code does."""
        struct.pack_into("Q", self._memory, _BLOCK + _NUMBER, number)
        self.read()
        wanted = self._handler()
        if wanted:
            first = wanted >> 8
            registers, places = self._writing
            write = self._uc.library.c.uc_reg_write_batch
            write(self._uc.handle, registers + 4 * first, places + 8 * first, wanted & 0xFF)

"""The blocks of code that ran last, kept by a few instructions of this machine's own."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from rtld.arch.base import Stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.backends.emulated.libunicorn import Uc

KEPT = 8
#: This machine's CPU -> void block(uc, u64 address, u32 size, data): a position in bytes, then KEPT pairs of words.
CODE = {
    "x86_64": Stub("""
        48 8b 01        mov (%rcx), %rax
        48 89 74 01 08  mov %rsi, 8(%rcx,%rax)
        89 54 01 10     mov %edx, 16(%rcx,%rax)
        83 c0 10        add $16, %eax
        83 e0 70        and $0x70, %eax
        48 89 01        mov %rax, (%rcx)
        c3              ret
    """),
    "aarch64": Stub("""
        64 00 40 f9  ldr x4, [x3]
        65 00 04 8b  add x5, x3, x4
        a1 04 00 f9  str x1, [x5, #8]
        a2 10 00 b9  str w2, [x5, #16]
        84 40 00 11  add w4, w4, #16
        84 08 1c 12  and w4, w4, #0x70
        64 00 00 f9  str x4, [x3]
        c0 03 5f d6  ret
    """),
}
_HOOK_BLOCK = 1 << 3
_DATA = 128  # where the data are, behind the code
_ROWS = struct.Struct(f"=Q{2 * KEPT}Q")


class Trail:
    """*works*: False where this process may not make machine code, or nobody has written it. Blocks are kept for good."""

    def __init__(self, uc: Uc) -> None:
        self.works = False
        code = CODE.get(os.uname().machine)
        if code is None:
            return
        try:
            # Private: after a fork each process has its own.
            rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            self._memory = mmap.mmap(-1, mmap.PAGESIZE, flags, rights)
        except OSError:
            return
        self._memory.write(code.code)
        at = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        uc.hook_add(_HOOK_BLOCK, at, at + _DATA, keep=self._memory)
        self.works = True

    def blocks(self) -> Iterator[tuple[int, int]]:
        """(address, bytes) of each, the last one first."""
        at, *rows = _ROWS.unpack_from(self._memory, _DATA)
        for i in range(KEPT):
            row = (at // 16 - 1 - i) % KEPT
            yield rows[2 * row], rows[2 * row + 1]

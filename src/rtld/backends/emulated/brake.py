"""Stopping the CPU between two of its instructions, from another thread.

Unicorn's own emu_stop ends a run after any access to memory, and the instruction is started again when the run goes on: one
that reads, changes and writes (``add %rax, (%rsp)``) is then done twice. So a run is stopped only where a block of code begins: a
hook is called there, and it looks at a word that the other thread sets. The hook is machine code of this computer's: in Python
it would make everything a hundred times slower.
"""

from __future__ import annotations

import ctypes
import mmap
import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
#: void hook(uc, address, size, struct { uint64_t asked; void (*stop)(uc); } *brake) { if (brake->asked) brake->stop(uc); }
CODE = {
    "x86_64": bytes.fromhex("833900" "7501" "c3"          # cmpl $0, (%rcx); jne 1f; ret
                            "c70100000000" "ff6108"),     # 1: movl $0, (%rcx); jmp *8(%rcx)
    "aarch64": bytes.fromhex("640040b9" "44000035" "c0035fd6"    # ldr w4, [x3]; cbnz w4, 1f; ret
                             "7f0000b9" "640440f9" "80001fd6"),  # 1: str wzr, [x3]; ldr x4, [x3, #8]; br x4
}
# fmt: on
_EVERYWHERE = (ctypes.c_uint64(1), ctypes.c_uint64(0))  # begin above end


class Brake:
    """Of one engine. ``usable``: where this computer's machine code is known."""

    def __init__(self, uc: Any, library: Any, block: int) -> None:
        code = CODE.get(platform.machine())
        self.usable = False
        if code is None:
            return
        try:
            self._code = mmap.mmap(
                -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            )
        except OSError:
            return  # where memory may not be both written and executed
        self._code.write(code)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._words = (ctypes.c_uint64 * 2)()
        self._words[1] = ctypes.cast(library.uc_emu_stop, ctypes.c_void_p).value or 0
        handle = ctypes.c_size_t()
        error = library.uc_hook_add(
            uc._uch, ctypes.byref(handle), ctypes.c_int(block), ctypes.c_void_p(start), ctypes.byref(self._words), *_EVERYWHERE
        )  # fmt: skip
        self.usable = error == 0

    def pull(self) -> None:
        """Stop at the beginning of the next block."""
        self._words[0] = 1

    def loosen(self) -> None:
        """Do not stop: what was asked for is over."""
        if self.usable:
            self._words[0] = 0

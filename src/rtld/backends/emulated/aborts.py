"""abort() in Unicorn's library ends the run, and not this process.

Its code generator gives up that way when a translator has made nonsense of an instruction: x86's takes LOCK before BTS of a
register, and then uses an address that nobody has computed (tcg/tcg.c: temp_load). A guest may want that. The library calls
abort through its PLT; the slot leads to a few instructions of ours, which ask Python. If a CPU has been translating, it is
told to stop and left as at a bad access (cpu_loop_exit_noexc); else abort it is.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from _weakref import ref  # weakref itself takes long to import

from rtld.arch.base import Stub
from rtld.backends.emulated.loaded import Loaded, found_in, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.libunicorn import Uc

# fmt: off
#: This machine's CPU -> abort(). Behind it: the address of Python's function, which returns what to call; for which CPU; abort.
CODE = {
    "x86_64": Stub("""
        48 83 ec 08           sub  $8, %rsp
        ff 15 36 00 00 00     call *0x36(%rip)
        48 85 c0              test %rax, %rax
        74 09                 je   .+11
        48 8b 3d 32 00 00 00  mov  0x32(%rip), %rdi
        ff d0                 call *%rax
        48 83 c4 08           add  $8, %rsp
        ff 25 2e 00 00 00     jmp  *0x2e(%rip)
    """),
    "aarch64": Stub("""
        fd 7b bf a9  stp x29, x30, [sp, #-16]!
        f0 01 00 58  ldr x16, .+60
        00 02 3f d6  blr x16
        80 00 00 b4  cbz x0, .+16
        f0 03 00 aa  mov x16, x0
        a0 01 00 58  ldr x0, .+52
        00 02 3f d6  blr x16
        fd 7b c1 a8  ldp x29, x30, [sp], #16
        90 01 00 58  ldr x16, .+48
        00 02 1f d6  br  x16
    """),
}
# fmt: on
_PYTHON, _CPU, _ABORT = 64, 72, 80
#: Where CPUState.uc is, about: behind a table of 4096 pointers, and little before that (hw/core/cpu.h).
_NEAR = range(4096 * 8, 4096 * 8 + 1024)
_CALLED = ctypes.CFUNCTYPE(ctypes.c_size_t)


class Page:
    """A page of this machine's code with words behind it. OSError: in a process that may not make code."""

    def __init__(self, code: Stub, at: int, *words: int) -> None:
        rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        # Private: after a fork each process has its own.
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, rights)
        self._memory.write(code.code)
        struct.pack_into(f"<{len(words)}Q", self._memory, at, *words)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))


class Aborts:
    """For one loaded library. ``cell``: where the translator notes which CPU (CPUState) it translates for."""

    def __init__(self, loaded: Loaded) -> None:
        self._library = loaded.library
        self._engines: dict[int, tuple[ref[Uc], str]] = {}
        self._callback = _CALLED(self._aborted)
        function = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        abort = ctypes.cast(libc.abort, ctypes.c_void_p).value or 0
        self._page = Page(CODE[os.uname().machine], _PYTHON, function, 0, abort)
        self.cell = self._page.start + _CPU
        loaded.redirect("abort", self._page.start)

    def watch(self, uc: Uc, suffix: str) -> None:
        """Be there for this engine. *suffix*: how the names of its CPU's functions end."""
        handle = uc.handle
        self._engines[handle] = (ref(uc, lambda _: self._engines.pop(handle, None)), suffix)

    def _aborted(self) -> int:
        """Which function leads back into the engine that has aborted; 0 if it is none of ours."""
        cpu = ctypes.c_size_t.from_address(self.cell).value
        if not cpu:
            return 0
        for handle, (found, suffix) in list(self._engines.items()):
            wanted = handle.to_bytes(8, "little")
            uc = found()
            if uc is not None and any(found_in(cpu + _NEAR.start, cpu + _NEAR.stop, wanted)):
                uc.cannot_translate()
                return self._library.address(f"cpu_loop_exit_noexc{suffix}")
        return 0

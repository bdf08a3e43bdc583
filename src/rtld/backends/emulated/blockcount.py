"""How often each block of code runs, counted by a few instructions of this machine's own: a guest is hardly slower for it.

A block is what the engine translates at once: up to a jump, a call or a return, or to a limit of its own. For each of the
guest's addresses there are eight bytes here, of which only those have memory that are used: how often a block that begins
there has run (it stays at 2^32 - 1), and its bytes.
"""

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

#: This machine's CPU -> void block(uc, u64 address, u32 size, cells).
CODE = {
    "x86_64": Stub("""
        48 8d 04 f1  lea  (%rcx,%rsi,8), %rax
        83 00 01     addl $1, (%rax)
        83 18 00     sbbl $0, (%rax)
        89 50 04     mov  %edx, 4(%rax)
        c3           ret
    """),
    "aarch64": Stub("""
        63 0c 01 8b  add  x3, x3, x1, lsl #3
        64 00 40 b9  ldr  w4, [x3]
        84 04 00 31  adds w4, w4, #1
        84 30 9f 5a  csinv w4, w4, wzr, lo
        64 08 00 29  stp  w4, w2, [x3]
        c0 03 5f d6  ret
    """),
}
_HOOK_BLOCK = 1 << 3
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32)
_NORESERVE = 0x4000  # MAP_NORESERVE
_CELL = struct.Struct("=II")
_STEP = 1 << 16  # addresses that are looked at together


class BlockCount:
    """*span*: addresses of the guest, from 0 on. Counts while it is ``add``-ed to ranges, until ``remove``."""

    def __init__(self, uc: Uc, span: int) -> None:
        self._uc = uc
        self._handles: list[int] = []
        self._slow: dict[int, tuple[int, int]] = {}
        self._cells: mmap.mmap | None = None
        code = CODE.get(os.uname().machine)
        if code is None:
            return
        try:
            rights = mmap.PROT_READ | mmap.PROT_WRITE
            self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=rights | mmap.PROT_EXEC)
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            self._cells = mmap.mmap(-1, span * _CELL.size, flags)
        except OSError:
            return  # a process that may not make code, or not have so many addresses
        self._code.write(code.code)
        self._function = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._data = ctypes.addressof(ctypes.c_char.from_buffer(self._cells))

    def add(self, low: int, high: int) -> None:
        """Count the blocks that begin in [low, high]."""
        if self._cells is None:
            callback = _CALLBACK(self._uc.guarded(self._ran))
            handle = self._uc.hook_add(_HOOK_BLOCK, callback, low=low, high=high)
        else:
            handle = self._uc.hook_add(
                _HOOK_BLOCK, self._function, self._data, low, high, keep=(self._code, self._cells)
            )
        self._handles.append(handle)
        self._uc.ctl_flush_tb()  # code that has been translated knows nothing of it

    def remove(self) -> None:
        """Count no more; what has been counted stays."""
        for handle in self._handles:
            self._uc.hook_del(handle)
        self._handles.clear()
        self._uc.ctl_flush_tb()

    def _ran(self, address: int, size: int) -> None:
        count, _ = self._slow.get(address, (0, 0))
        self._slow[address] = count + 1, size

    def blocks(self, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """(address, how often, bytes) of those in [low, high), in ascending order."""
        if self._cells is None:
            for address in sorted(self._slow):
                if low <= address < high:
                    yield address, *self._slow[address]
            return
        for start in range(low, high, _STEP):
            end = min(start + _STEP, high)
            data = self._cells[start * _CELL.size : end * _CELL.size]
            if data.count(0) == len(data):
                continue
            for address, (count, size) in enumerate(_CELL.iter_unpack(data), start):
                if count:
                    yield address, count, size

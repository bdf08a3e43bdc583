"""x87 and SSE registers on a handler's stack: FXSAVE's image, which the ucontext points to (arch/x86/kernel/fpu/signal.c).

A 32-bit program's begins with FSAVE's, which counts for the x87 when it comes back.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.cpus import Cpu
    from rtld.backends.emulated.engine import Engine

SLOT = 16  # bytes of each register in a bank
MASK = 0xFFFF  # bits of MXCSR that there are
_X87, _XMM, _LEGACY = 32, 160, 112  # offsets in FXSAVE's image; bytes of FSAVE's
_EMPTY = 3  # in two bits of the tag word


class Fxsave:
    """The registers of one CPU on their way to a handler's stack and back. ``size``: bytes of the image."""

    def __init__(self, cpu: Cpu, engine: Engine) -> None:
        self._legacy = _LEGACY if cpu.bits == 32 else 0
        self.size = self._legacy + 512
        self._count = 16 if cpu.bits == 64 else 8
        names = ("fpcw", "fpsw", "fptag", "mxcsr", *(f"fp{i}" for i in range(8)))
        xmm = (f"xmm{i}" for i in range(self._count))
        self._bank = engine.bank(*names, *xmm, width=SLOT)

    def below(self, top: int) -> int:
        """Where it stands below an address: FXSAVE's part at a multiple of 64."""
        return (top - 512 & -64) - self._legacy

    def image(self) -> bytes:
        """What the registers are."""
        data = self._bank.read_bytes()
        slots = [data[at : at + SLOT] for at in range(0, len(data), SLOT)]
        control, status, tags, mxcsr = (int.from_bytes(slot[:4], "little") for slot in slots[:4])
        control, status, tags = control & 0xFFFF, status & 0xFFFF, tags & 0xFFFF
        top = status >> 11 & 7
        stack = [slots[4 + (top + i & 7)][:10] for i in range(8)]
        full = sum(1 << i for i in range(8) if tags >> 2 * i & 3 != _EMPTY)
        head = struct.pack("<HHBxHQQII", control, status, full, 0, 0, 0, mxcsr, MASK)
        body = b"".join(each.ljust(16, b"\0") for each in stack) + b"".join(slots[12:])
        whole = (head + body).ljust(512, b"\0")
        if not self._legacy:
            return whole
        words = (0xFFFF0000 | word for word in (control, status, tags))
        return (
            struct.pack("<7I", *words, 0, 0, 0, 0)
            + b"".join(stack)
            + struct.pack("<HH", status, 0)
            + whole
        )

    def take(self, data: bytes) -> bool:
        """The registers are what a handler has left there, from now on. False: the CPU takes no such image."""
        if data == self.image():
            return True
        image = data[self._legacy :]
        control, status, full = struct.unpack_from("<HHB", image)
        (mxcsr,) = struct.unpack_from("<I", image, 24)
        stack = [image[_X87 + 16 * i : _X87 + 16 * i + 10] for i in range(8)]
        tags = sum((0 if full >> i & 1 else _EMPTY) << 2 * i for i in range(8))
        if self._legacy:
            control, status, tags = (word & 0xFFFF for word in struct.unpack_from("<3I", data))
            stack = [data[28 + 10 * i : 38 + 10 * i] for i in range(8)]
        if mxcsr & ~MASK:
            return False
        top = status >> 11 & 7
        slots = [word.to_bytes(SLOT, "little") for word in (control, status, tags, mxcsr)]
        slots += [stack[i - top & 7].ljust(SLOT, b"\0") for i in range(8)]
        slots.append(image[_XMM : _XMM + SLOT * self._count])
        whole = b"".join(slots)
        self._bank.write(*struct.unpack(f"<{len(whole) // 8}Q", whole))
        return True

    def reset(self) -> None:
        """As a program begins: what a context without an image is."""
        empty = struct.pack("<HHBxHQQII", 0x37F, 0, 0, 0, 0, 0, 0x1F80, MASK).ljust(512, b"\0")
        words = struct.pack("<7I", 0x37F, 0, 0xFFFF, 0, 0, 0, 0).ljust(_LEGACY, b"\0")
        self.take(words + empty if self._legacy else empty)

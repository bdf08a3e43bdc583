"""Floating-point and vector registers in a handler's ucontext: where they stand there (arch/*/kernel/signal.c), CPU by CPU."""

from __future__ import annotations

import struct

from rtld.core.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.cpus import Cpu
    from rtld.backends.emulated.engine import Engine


class Registers(NamedTuple):
    """Offsets count from the ucontext's beginning.

    start, size  of the part of the ucontext they are in
    places       register -> offset, bytes
    heads        offset -> bytes of a record's head: the kernel takes no others back
    constants    offset -> bytes that only tell something
    """

    start: int
    size: int
    places: dict[str, tuple[int, int]]
    heads: dict[int, bytes]
    constants: dict[int, bytes]


def _row(
    letter: str, count: int, start: int, size: int, *, first: int = 0, step: int = 0, end: str = ""
) -> dict[str, tuple[int, int]]:
    return {f"{letter}{first + i}{end}": (start + (step or size) * i, size) for i in range(count)}


# fmt: off
PLACES = {
    # struct fpsimd_context: FPSIMD_MAGIC, its size; fpsr, fpcr, 32 registers; a record without magic ends the list
    "aarch64": Registers(464, 528 + 16, {"fpsr": (472, 4), "fpcr": (476, 4)} | _row("q", 32, 480, 16),
                         {464: struct.pack("<II", 0x46508001, 528)}, {}),
    # struct vfp_sigframe: VFP_MAGIC, its size; 32 registers, fpscr; fpexc with EN
    "arm": Registers(232, 288, _row("d", 32, 240, 8) | {"fpscr": (496, 4)}, {232: struct.pack("<II", 0x56465001, 288)},
                     {504: struct.pack("<I", 1 << 30)}),
    # struct __riscv_d_ext_state
    "riscv64": Registers(432, 260, _row("f", 32, 432, 8) | {"fcsr": (688, 4)}, {}, {}),
    # access registers, fpc, 16 registers; _sigregs_ext: the other halves of those, 16 vector registers; UC_VXRS in uc_flags
    "s390x": Registers(0, 1024 - 128,
                       _row("a", 16, 184, 4) | {"fpc": (248, 4)} | _row("f", 16, 256, 8) | _row("f", 16, 512, 8, end="_hi")
                       | _row("f", 16, 640, 8, first=16, step=16) | _row("f", 16, 648, 8, first=16, step=16, end="_hi"),
                       {}, {0: (2).to_bytes(8, "big")}),
}
# fmt: on
SLOT = 16  # bytes of each in a bank


class FloatingPoint:
    """The registers of one CPU on their way to a handler's stack and back."""

    def __init__(self, cpu: Cpu, engine: Engine, where: Registers) -> None:
        self.where = where
        self._bank = engine.bank(*where.places, width=SLOT)
        self._turned = cpu.order == ">"

    def _split(self, data: bytes) -> list[bytes]:
        return [
            data[SLOT * i : SLOT * i + size]
            for i, (_, size) in enumerate(self.where.places.values())
        ]

    def image(self, old: bytes) -> bytes:
        """What the ucontext says from ``start`` on; *old*: what stands there."""
        where, block = self.where, bytearray(old)
        for given in (where.heads, where.constants):
            for offset, data in given.items():
                block[offset - where.start : offset - where.start + len(data)] = data
        values = self._split(self._bank.read_bytes())
        for (offset, size), value in zip(where.places.values(), values, strict=True):
            at = offset - where.start
            block[at : at + size] = value[::-1] if self._turned else value
        return bytes(block)

    def take(self, block: bytes) -> bool:
        """The CPU's registers are what a handler has left there, from now on. False: it is no such record."""
        where = self.where
        for offset, data in where.heads.items():
            if block[offset - where.start : offset - where.start + len(data)] != data:
                return False
        now = self._split(self._bank.read_bytes())
        found = []
        for offset, size in where.places.values():
            value = block[offset - where.start : offset - where.start + size]
            found.append(value[::-1] if self._turned else value)
        if found != now:
            words = b"".join(value.ljust(SLOT, b"\0") for value in found)
            self._bank.write(*struct.unpack(f"<{len(words) // 8}Q", words))
        return True


def floating_point(cpu: Cpu, engine: Engine) -> FloatingPoint | None:
    """Those of a CPU; None where nothing of them is in the ucontext here."""
    where = PLACES.get(cpu.name)
    return None if where is None else FloatingPoint(cpu, engine, where)

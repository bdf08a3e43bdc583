"""The same for x86-64 ("x64 calling convention", learn.microsoft.com) and i386: the TEB behind gs or fs, arguments in four registers or on the stack."""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import EXECUTE, PAGE, READ
from rtld.backends.windows import returns
from rtld.backends.windows.api import Call, Place
from rtld.backends.windows.machine import Machine
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.threads import Frame

ARGUMENTS64 = ("rcx", "rdx", "r8", "r9")
FLOATS64 = ("xmm0", "xmm1", "xmm2", "xmm3")
_TEB_SELECTOR = 3 << 3
_NOWHERE = Place()


class X86Machine(Machine):
    """An x86-64 or i386 CPU with Windows' threads on it."""

    def _prepare(self) -> None:
        low = self.memory.reserve(PAGE)
        self.memory.map(low, PAGE, READ | EXECUTE)
        self.memory.write(low, returns.page(low, self.bits))
        self.returns = low
        pc = (self.cpu.pc,)
        self.gate = self.engine.gate(pc, pc, self._on_interrupt, syscall=False)
        if self.bits == 64:
            self._bank = self.engine.bank("rip", "rsp", "rcx", "rdx", "r8", "r9")
            self._floats = self.engine.bank(*FLOATS64, width=16)
            self._result = self.engine.bank("rsp", "rax")
        else:
            self._bank = self.engine.bank("eip", "esp")
            self._result = self.engine.bank("esp", "eax")
            self._segments()

    def _segments(self) -> None:
        """i386: flat code and data, and the TEB behind %fs."""
        self._gdt = self.memory.reserve(PAGE, high=True)
        self.memory.map(self._gdt, PAGE, READ)
        for entry, access in ((1, 0x9B), (2, 0x93)):
            self._descriptor(entry, 0, access)
        self.engine.set_table("gdtr", self._gdt, 63)
        self.engine.set("cs", 1 << 3)
        for register in ("ds", "es", "ss"):
            self.engine.set(register, 2 << 3)

    def _descriptor(self, entry: int, base: int, access: int) -> None:
        high = base >> 16 & 0xFF | access << 8 | 0xF0000 | 0xC << 20 | base & 0xFF000000
        self.memory.write(self._gdt + 8 * entry, struct.pack("<II", 0xFFFF | (base & 0xFFFF) << 16, high))  # fmt: skip

    def _use_teb(self, teb: int) -> None:
        if self.bits == 64:
            self.engine.set("gs_base", teb)
        else:
            self._descriptor(3, teb, 0x93)
            self.engine.set("fs", _TEB_SELECTOR)

    def _enter(self, call: Call, frame: Frame) -> int:
        """Arguments where a function of the program looks for them."""
        engine = self.engine
        place = call.place or _NOWHERE
        sp = ((place.below or frame.low or frame.sp) - 256) & -16
        mask = (1 << self.bits) - 1
        arguments = [int(a) & mask for a in call.arguments]
        if place.registers is not None:
            for register, value in place.registers.items():
                engine.set(register, value)
        if self.bits == 64:
            if len(arguments) > returns.MOST_ARGUMENTS:
                raise TargetFault(f"{len(arguments)} arguments are too many")
            for register, value in zip(ARGUMENTS64, arguments, strict=False):
                engine.set(register, value)
            kind = returns.kind_for(place.kind, len(arguments))
            caller = place.caller or ((frame.pc, frame.sp) if frame.api is not None else (0, 0))
            data = returns.stack64(kind, returns.address(self.returns, kind), arguments, caller)
            sp -= len(data) + 7 & -16
            frame.room = 0
        else:
            kind = place.kind
            back = returns.address(self.returns, kind)
            data = struct.pack(f"<{len(arguments) + 1}I", back, *arguments)
            sp -= (4 * len(arguments) + 15) & -16
            frame.room = 4 * len(arguments)
        sp -= self.word
        self.memory.view(sp, len(data))[:] = data
        frame.called, frame.kind, frame.state = sp + self.word, place.kind, place.state
        engine.set(self.cpu.sp, sp)
        return int(call.address)

"""The same for x86-64 ("x64 calling convention", learn.microsoft.com) and i386: the TEB behind gs or fs, arguments in four registers or on the stack."""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import EXECUTE, PAGE, READ
from rtld.backends.windows import returns
from rtld.backends.windows.api import Api, Call, Place, VarArgs, words
from rtld.backends.windows.machine import Machine
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.threads import Frame

ARGUMENTS64 = ("rcx", "rdx", "r8", "r9")
FLOATS64 = ("xmm0", "xmm1", "xmm2", "xmm3")
_MASK64 = (1 << 64) - 1
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

    def _back(self, sp: int) -> int | None:
        """The program has returned from a function that one of ours had called: from which, the stack says."""
        thread = self.current
        frames = thread.frames
        while frames[-1].called + frames[-1].room < sp and frames[-1].api is not None:
            frames.pop().task.close()  # left by a jump
        self.engine.set(self.cpu.sp, frames[-1].sp)
        value = self.engine.get("rax" if self.bits == 64 else "eax")
        return self._resume(thread, value)

    def _arguments(self, api: Api, registers: list[int]) -> list[Any]:
        """The arguments as the signature says."""
        sp, signature = registers[1], api.arguments
        if not signature:
            return []
        wide = self.bits == 64
        values: list[Any] = []
        count = words(signature, self.bits)
        first = sp + self.word
        if wide:
            slots = registers[2:6]
            if count > 4:
                raw = self.memory.view(first + 32, 8 * (count - 4))
                slots += struct.unpack(f"<{count - 4}Q", raw)
            floats = self._floats.read() if "d" in signature or "f" in signature else ()
        else:
            slots = list(struct.unpack(f"<{count}I", self.memory.view(first, 4 * count)))
            floats = ()
        at = 0
        for letter in signature:
            if letter == ".":
                if wide:  # what is in registers goes to its home on the stack
                    self.memory.write(first, struct.pack("<4Q", *registers[2:6]))
                values.append(VarArgs(self.guest, first + at * self.word, self.word))
                break
            value: Any = slots[at]
            if letter in "qd" and not wide:
                value |= slots[at + 1] << 32
                at += 1
            if letter in "df" and wide and at < 4:
                value = floats[at]
            values.append(self._value(letter, value))
            at += 1
        return values

    def _return(self, api: Api, sp: int, result: Any) -> int:
        """The result to where it belongs, the stack as the caller expects it; where to go on."""
        engine = self.engine
        back = int.from_bytes(self.memory.view(sp, self.word), "little")
        sp += self.word
        if self.bits == 32 and api.convention == "stdcall":
            sp += 4 * words(api.arguments, 32)
        if api.result in "df":
            self._return_real(float(result), api.result)
        elif api.result != "v":
            value = int(result or 0)
            if self.bits == 32 and api.result == "q":
                engine.set("edx", value >> 32 & 0xFFFFFFFF)
            narrow = self.bits == 32 or api.result in "ui"
            self._result.write(sp, value & (0xFFFFFFFF if narrow else _MASK64))
            return back
        engine.set(self.cpu.sp, sp)
        return back

    def _return_real(self, value: float, kind: str) -> None:
        data = struct.pack(f"<{kind if self.bits == 64 else 'd'}", value)
        if self.bits == 64:
            self.engine.set("xmm0", int.from_bytes(data, "little"))
        else:
            self.memory.write(self.returns + returns.SCRATCH, data)
            self.engine.run(self.returns + returns.ST0, 1)

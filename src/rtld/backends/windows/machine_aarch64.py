"""The same for AArch64 ("Overview of ARM64 ABI conventions", learn.microsoft.com): x18 is the TEB, a call leaves the stack as it is.

Where x86 has the return address on the stack, a function of ours puts it there: it may call the program, which then uses x30 itself. Above
it are x0 to x7, and above these the caller's arguments on the stack: that is how a variadic function finds its arguments.
"""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import EXECUTE, PAGE, READ
from rtld.backends.windows import returns
from rtld.backends.windows.api import TRAP, Api, Call, VarArgs
from rtld.backends.windows.machine import Machine
from rtld.backends.windows.stubs import HALTS
from rtld.errors import TargetFault, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.engine import Stopped
    from rtld.backends.emulated.memory import NotMapped
    from rtld.backends.windows.threads import Frame

_INTS = tuple(f"x{i}" for i in range(8))
_FLOATS = tuple(f"d{i}" for i in range(8))
_SPILL = 64  # x0 to x7
_KEPT = 16  # x30, and nothing: the stack pointer is a multiple of 16
_MASK = (1 << 64) - 1


class ArmMachine(Machine):
    """An AArch64 CPU with Windows' threads on it."""

    halt = 4

    def _prepare(self) -> None:
        low = self.memory.reserve(PAGE)
        self.memory.map(low, PAGE, READ | EXECUTE)
        self.memory.write(low, HALTS["aarch64"] * 64)
        self.returns = low
        self._bank = self.engine.bank("pc", "sp", *_INTS, "x30")
        self._floats = self.engine.bank(*_FLOATS, width=16)

    def _use_teb(self, teb: int) -> None:
        self.engine.set("x18", teb)

    def _call(self, api: Api, registers: list[int]) -> int | None:
        if api.arguments != TRAP:
            registers[1] -= _SPILL + _KEPT
            self.memory.write(registers[1], struct.pack("<QQ", registers[10], 0))
        return super()._call(api, registers)

    def _arguments(self, api: Api, registers: list[int]) -> list[Any]:
        signature = api.arguments
        if not signature:
            return []
        variadic = "." in signature
        home = registers[1] + _KEPT
        if variadic:
            self.memory.write(home, struct.pack("<8Q", *registers[2:10]))
        floats = self._floats.read() if "d" in signature or "f" in signature else ()
        ints = reals = 0  # registers that are used
        stack = home + _SPILL
        values: list[Any] = []
        for letter in signature:
            if letter == ".":
                values.append(VarArgs(self.guest, home + 8 * ints, 8))
                break
            if letter in "df" and not variadic and reals < 8:
                value: Any = floats[reals]
                reals += 1
            elif ints < 8 and (letter not in "df" or variadic):
                value = registers[2 + ints]
                ints += 1
            else:
                value = int.from_bytes(self.memory.view(stack, 8), "little")
                stack += 8
            values.append(self._value(letter, value))
        return values

    def _return(self, api: Api, sp: int, result: Any) -> int:
        engine = self.engine
        back = int.from_bytes(self.memory.view(sp, 8), "little")
        if api.result in "df":
            self._return_real(float(result), api.result)
        elif api.result != "v":
            engine.set("x0", int(result or 0) & (0xFFFFFFFF if api.result in "ui" else _MASK))
        engine.set("sp", sp + _SPILL + _KEPT)
        return back

    def _return_real(self, value: float, kind: str) -> None:
        self.engine.set("d0", int.from_bytes(struct.pack(f"<{kind}", value), "little"))

    def _failed(self, error: Stopped | None, number: int | None = None) -> int | None:  # noqa: ARG002
        """There is no dispatcher of exceptions for this CPU: the program ends."""
        pc, refused = self.engine.get(self.cpu.pc), self.engine.refused
        what = refused[0] if refused is not None else str(error.args[1]) if error else "a halt"
        fault = TargetFault(f"{what}, by the code at {pc:#x}{self._where(pc)}")
        fault.pc = pc
        raise fault

    def _bad_pointer(self, error: NotMapped, registers: list[int]) -> int | None:  # noqa: ARG002
        raise error

    def _back(self, _sp: int) -> int | None:
        thread = self.current
        self.engine.set("sp", thread.frames[-1].sp)
        return self._resume(thread, self.engine.get("x0"))

    def _enter(self, call: Call, frame: Frame) -> int:
        engine = self.engine
        arguments = [int(a) & _MASK for a in call.arguments]
        for register, value in zip(_INTS, arguments, strict=False):
            engine.set(register, value)
        rest = arguments[8:]
        sp = ((frame.sp - 256) & -16) - (8 * len(rest) + 15 & -16)
        self.memory.write(sp, struct.pack(f"<{len(rest)}Q", *rest))
        engine.set("x30", returns.address(self.returns, returns.CALL))
        engine.set("sp", sp)
        return int(call.address)


def machine_for(arch: str, *, seconds: float | None = None) -> Machine:
    """The machine for a CPU. Unsupported."""
    if arch == "aarch64":
        return ArmMachine(arch, seconds=seconds)
    if arch not in ("x86_64", "i386"):
        raise Unsupported(f"Windows programs of {arch or 'this CPU'} cannot be run")
    from rtld.backends.windows.machine_x86 import X86Machine

    return X86Machine(arch, seconds=seconds)

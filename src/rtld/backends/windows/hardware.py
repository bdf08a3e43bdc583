"""What the CPU cannot do, as an exception of Windows: code, address, parameters; and the guard page of a stack.

Which code an exception of the CPU becomes, and what it says about itself, is as in Wine (dlls/ntdll/unix/signal_x86_64.c,
signal_i386.c, by what they answer) and in "EXCEPTION_RECORD" (learn.microsoft.com).
"""

from __future__ import annotations

from rtld.backends.windows import context as c
from rtld.backends.windows.api import Unhandled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.engine import Stopped
    from rtld.backends.emulated.memory import Memory, NotMapped
    from rtld.backends.windows.machine import Machine

_PAGE = 0x1000
_GUARD = 4 * _PAGE  # room for whoever handles the overflow
_READ, _WRITE = 1, 2
_EVERYWHERE = (1 << 64) - 1
_FASTFAIL, _DEBUG_SERVICE = 0x29, 0x2D
#: exceptions of the CPU -> code
_CODES = {
    0: c.DIVIDE_BY_ZERO, 1: c.SINGLE_STEP, 4: c.INTEGER_OVERFLOW, 5: c.ARRAY_BOUNDS, 6: c.ILLEGAL_INSTRUCTION,
    17: c.MISALIGNMENT, 19: 0xC00002B5,
}  # fmt: skip
#: bit of the x87's status word, highest priority first -> code
_FLOATING = ((0, 0xC0000090), (2, 0xC000008E), (1, 0xC000008D), (3, 0xC0000091), (4, 0xC0000093), (5, 0xC000008F))  # fmt: skip


class Guard:
    """The end of a stack: a page that is never there, above it pages that are when they have been touched once."""

    def __init__(self, memory: Memory, low: int) -> None:
        self.memory = memory
        self.low = low
        self.limit = low + _PAGE + _GUARD
        self.armed = False
        self.arm()

    def arm(self) -> None:
        """The pages away (_resetstkoflw)."""
        self.memory.protect(self.low, _PAGE + _GUARD, 0)
        self.armed = True

    def touched(self, address: int) -> bool:
        """Was it an address of the guard? Then the pages are there from now on."""
        if not self.armed or not self.low + _PAGE <= address < self.limit:
            return False
        self.memory.protect(self.low + _PAGE, _GUARD, _READ | _WRITE)
        self.armed = False
        return True


def hardware(machine: Machine, error: Stopped | None, number: int | None) -> tuple[c.Record, Any]:
    """(record, context) for what has stopped the CPU: a fault, an exception by its number, or (neither) ``hlt``."""
    context = c.capture(machine.system)
    engine = machine.engine
    if error is not None and engine.refused is not None:
        return _access(machine, context)
    if error is not None:
        return _record(c.ILLEGAL_INSTRUCTION, context, 0)
    if number is None:
        return _record(c.PRIVILEGED, context, 1)
    if number == 3:  # a fault here, a trap for the CPU
        return _record(c.BREAKPOINT, context, 1, 0)
    if number == _FASTFAIL:
        code = context.values["ecx"] if machine.bits == 32 else context.gpr[1]
        pc = context.pc - 2
        raise Unhandled(c.STACK_BUFFER_OVERRUN, f"__fastfail({code & 0xFFFFFFFF}) at {pc:#x}{machine._where(pc)}")  # fmt: skip
    if number == _DEBUG_SERVICE:
        return _record(c.BREAKPOINT, context, 0, 0)
    if number == 16:
        status = engine.get("fpsw") & ~engine.get("fpcw")
        code = next((code for bit, code in _FLOATING if status >> bit & 1), c.FLOAT_INVALID)
        return _record(code, context, 0, 0)
    if number in _CODES:
        return _record(_CODES[number], context, 0)
    back = 2 if number >= 32 else 0  # int $n, which only a kernel may
    return _record(c.ACCESS_VIOLATION, context, back, 0, _EVERYWHERE >> (64 - machine.bits))


def _record(code: int, context: Any, back: int, *info: int) -> tuple[c.Record, Any]:
    """The exception at the instruction that begins ``back`` bytes before the program counter."""
    pc = context.pc - back
    if isinstance(context, c.Context64):
        context.rip = pc
    else:
        context.values["eip"] = pc
    return c.Record(code, 0, pc, info), context


def _access(machine: Machine, context: Any) -> tuple[c.Record, Any]:
    """The CPU wanted to reach what is not there, or not to be used so."""
    words, address = machine.engine.refused or ("", 0)
    _, _, writes = machine.engine.wanted or (0, 0, False)
    how = 8 if words.startswith("instruction") else int(writes)
    code = c.ACCESS_VIOLATION
    guard = machine.current.guard
    if guard is not None and guard.touched(address):
        code = c.STACK_OVERFLOW
        machine.put_limit(guard.low + _PAGE)
    return _record(code, context, 0, how, address & (1 << machine.bits) - 1)


def bad_pointer(machine: Machine, error: NotMapped, pc: int, sp: int) -> tuple[c.Record, Any]:
    """A function of ours was given a pointer to nowhere: as if its code had read there."""
    context = c.capture(machine.system)
    if isinstance(context, c.Context64):
        context.rip, context.gpr[4] = pc, sp
    else:
        context.values["eip"], context.values["esp"] = pc, sp
    return c.Record(c.ACCESS_VIOLATION, 0, pc, (0, error.address)), context

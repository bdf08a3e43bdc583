"""What is said about an exception that nobody has handled: code, what was wanted, where, the registers, the stack."""

from __future__ import annotations

from rtld.backends.windows import context as c
from rtld.backends.windows import returns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

_FRAMES = 16
_A_ROW = 4  # registers


def report(system: System, record: c.Record, context: Any, why: str = "") -> str:
    """Several lines; the first is a sentence."""
    name = c.NAMES.get(record.code, "")
    lines = [f"unhandled exception {record.code:#010x}{f', {name}' if name else ''}{_details(record)}, at {_place(system, record.address)}"]  # fmt: skip
    if why:
        lines[0] += f": {why}"
    digits = system.bits // 4
    shown = [f" {name:>6} {value:0{digits}x}" for name, value in context.shown().items()]
    lines += ["".join(shown[at : at + _A_ROW]) for at in range(0, len(shown), _A_ROW)]
    if record.address != context.pc or system.bits == 64:
        lines += [f"  called from {_place(system, pc)}" for pc in _callers(system, context)]
    return "\n".join(lines)


def _details(record: c.Record) -> str:
    if record.code not in (c.ACCESS_VIOLATION, c.STACK_OVERFLOW) or len(record.info) < 2:
        return ""
    how, address = record.info[:2]
    word = {0: "read", 1: "write", 8: "instruction fetch"}.get(how, "access")
    return f" ({word} at {address:#x})"


def _place(system: System, address: int) -> str:
    words = system.loader.place_of(address)
    return f"{address:#x}{f' in {words}' if words else ''}"


def _callers(system: System, context: Any) -> list[int]:
    """Where the frames above would go on, as far as the stack tells."""
    from rtld.backends.emulated.memory import NotMapped

    if isinstance(context, c.Context64):
        from rtld.arch.x86_64_unwind import UHANDLER
        from rtld.backends.windows.seh64 import Walk

        walk = Walk(system, context.copy(), UHANDLER)
        found: list[int] = []
        while len(found) < _FRAMES and walk.context.rip and not walk.step():
            if walk.context.rip and walk.call_of_ours() is None:
                found.append(walk.context.rip)
        machine = system.threads
        return [pc for pc in found if returns.kind_at(pc - machine.returns) < 0]
    try:  # a function of ours: its caller is on top of the stack
        return [system.number(context.sp)]
    except NotMapped:
        return []

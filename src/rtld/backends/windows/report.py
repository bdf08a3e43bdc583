"""What is said about an exception that nobody has handled: code, what was wanted, where, the registers, the stack."""

from __future__ import annotations

import itertools

from rtld.backends.windows import context as c
from rtld.backends.windows import returns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

_FRAMES = 64
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
    for pc, again in itertools.groupby(_callers(system, context)):
        count = len(list(again))
        times = f", {count} times" if count > 1 else ""
        lines.append(f"  called from {_place(system, pc)}{times}")
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
    from rtld.backends.windows.exceptions import frames32

    try:
        found = frames32(system, context, _FRAMES)
    except NotMapped:
        return []
    if system.threads.slots.get(context.pc - 1) is None:
        del found[0]  # what is on top of the stack is the return address in functions of ours only
    return [pc for pc in found if system.loader.module_of(pc) is not None]

"""A process that is stopped while it is being linked: what is on its stack, where there is room, lists that it works off."""

from __future__ import annotations

import os
import signal
import struct

from rtld.backends.child.calls import call_once, find_gate
from rtld.backends.child.live_anchor import results
from rtld.backends.child.ptrace import EXITED, KILLED, SIGNAL, Tracee
from rtld.core.space import page_up
from rtld.errors import TargetFault
from rtld.process.mapping import page_down

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.child.live_anchor import List, LiveAnchor
    from rtld.backends.child.parked import Parked
    from rtld.backends.child.ptrace import Registers

    Held = Tracee | Parked  # a process that does not move

AT_NULL = 0
_WORD = (1 << 64) - 1

#: Variables that are our linker's business; ld.so must not see them when it starts the anchor.
_HIDDEN = b"LD_"
_SHOWN = (b"LD_LIBRARY_PATH=",)


class Stack:
    """What the kernel put on the stack of a new program (psABI 3.4.1)."""

    def __init__(self, sp: int, data: bytes) -> None:
        self.argc = int.from_bytes(data[:8], "little")
        self.argv = sp + 8
        self.envp = at = sp + 8 * (self.argc + 2)
        self.variables: list[int] = []  # addresses of environment strings to be hidden
        self.aux: dict[int, int] = {}  # AT_* -> address of its value
        while True:
            (pointer,) = struct.unpack_from("<Q", data, at - sp)
            at += 8
            if not pointer:
                break
            text = data[pointer - sp : pointer - sp + 16] if pointer >= sp else b""
            if text.startswith(_HIDDEN) and not text.startswith(_SHOWN):
                self.variables.append(pointer)
        while True:
            number, _value = struct.unpack_from("<QQ", data, at - sp)
            if number == AT_NULL:
                return
            self.aux[number] = at + 8
            at += 16


def lowest_mapping(pid: int, program: tuple[int, int]) -> int:
    """The start of the lowest mapping that is neither the program's, nor the heap, nor in the first 4 GiB."""
    with open(f"/proc/{pid}/maps", "rb") as file:
        for line in file:
            low, _, rest = line.partition(b"-")
            start = int(low, 16)
            if (
                start < 1 << 32
                or program[0] <= start < page_up(program[1])
                or rest.rstrip().endswith(b"[heap]")
            ):
                continue
            return page_down(start)
    raise TargetFault(f"the process {pid} has no mappings")


def call_in(held: Held, number: int, *args: int) -> int:
    """One system call made by a process that stands before its first instruction; errors are negative."""
    if isinstance(held, Tracee):
        return call_once(held, find_gate(held), number, *args)
    return held.call(number, *args)


def run_list(tracee: Held, anchor: LiveAnchor, calls: List, saved: Registers) -> list[int]:
    """Let the stopped process work off a list now; returns the results."""
    tracee.write(calls.address, calls.bytes())
    regs = saved.copy()
    regs.rip, regs.rdi, regs.rsp = anchor.label("again"), calls.address, (saved.rsp - 512) & -16
    regs.orig_rax = _WORD
    tracee.set_regs(regs)
    tracee.cont()
    status = wait_for_trap(tracee)
    if status is not None:
        raise TargetFault(
            f"the process {tracee.pid} ended while it was being linked (status {status:#x})"
        )
    return results(tracee.read(calls.address, 64 * len(calls)))


def wait_for_trap(tracee: Held) -> int | None:
    """Wait for the next int3; a wait status if the process ends before. Other signals are sent again."""
    late = []
    while True:
        stop = tracee.wait()
        if stop.kind == EXITED:
            return int(stop.value) << 8
        if stop.kind == KILLED:
            return int(stop.value)
        if stop.kind == SIGNAL and stop.value == signal.SIGTRAP:
            break
        if stop.kind == SIGNAL and stop.value in (
            signal.SIGSEGV,
            signal.SIGBUS,
            signal.SIGILL,
            signal.SIGFPE,
        ):
            tracee.cont(stop.value)  # its end, then
            continue
        if stop.kind == SIGNAL:
            late.append(stop.value)
        tracee.cont()
    for number in late:
        os.kill(tracee.pid, number)
    return None

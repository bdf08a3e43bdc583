"""What a machine asks of whoever debugs its program: between two runs of the CPU, and nowhere else."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from rtld.backends.emulated.faults import Fault
    from rtld.backends.emulated.machine import Machine

    class Debugger(Protocol):
        """``machine.debugger``. All may change registers and memory, ``machine.resume`` too, or end the program (Ended)."""

        def before(self, machine: Machine) -> bool:
            """The CPU is to go on at ``machine.resume``: only for one instruction?"""

        def after(self, machine: Machine) -> bool:
            """It has stopped: because of the debugger?"""

        def fault(self, machine: Machine, fault: Fault) -> None:
            """The program has done what ends it, if it does not handle it."""

        def linked(self) -> None:
            """There are other modules in memory than before."""

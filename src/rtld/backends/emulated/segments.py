"""Segment descriptors of i386: where the thread pointer is kept.

Code, data and stack are flat; a program sets three more entries (set_thread_area), one of which %gs selects. The table stands
in a page of the guest's memory, for the CPU looks there.
"""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import PAGE, READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.linux.tasks import Task
    from rtld.backends.emulated.machine import Machine

CODE, DATA = 1, 2  # entries
FIRST, COUNT = 6, 3  # entries that are a program's (GDT_ENTRY_TLS_MIN)
ENTRIES = 16


class Segments:
    """The global descriptor table. Each task has its own three entries."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.table = machine.memory.reserve(PAGE, high=True)
        machine.memory.map(self.table, PAGE, READ)
        self._own: dict[Task | None, dict[int, tuple[int, int, bool]]] = {}
        self._write(CODE, 0, 0xFFFFF, 0x9B, pages=True)
        self._write(DATA, 0, 0xFFFFF, 0x93, pages=True)
        engine = machine.engine
        engine.set_table("gdtr", self.table, 8 * ENTRIES - 1)
        engine.set("cs", CODE << 3)
        for register in ("ds", "es", "ss"):
            engine.set(register, DATA << 3)

    def _write(self, entry: int, base: int, limit: int, access: int, *, pages: bool) -> None:
        low = limit & 0xFFFF | (base & 0xFFFF) << 16
        high = (
            base >> 16 & 0xFF
            | access << 8
            | limit & 0xF0000
            | (0xC if pages else 4) << 20
            | base & 0xFF000000
        )
        self.machine.memory.write(self.table + 8 * entry, struct.pack("<II", low, high))

    def set(self, entry: int, base: int, limit: int, *, pages: bool) -> None:
        """An entry of the task that runs."""
        self._own.setdefault(self.machine.kernel.task, {})[entry] = (base, limit, pages)
        self._write(entry, base, limit, 0xF3, pages=pages)

    def base(self, selector: int) -> int:
        """The base address of the segment that %gs or its like selects."""
        at = self.table + 8 * (selector >> 3)
        low, high = struct.unpack("<II", self.machine.memory.view(at, 8))
        return int(low >> 16 | (high & 0xFF) << 16 | high & 0xFF000000)

    def base_of(self, task: Task) -> int:
        """The thread pointer of a task that does not run."""
        return self._own.get(task, {}).get(FIRST, (0, 0, False))[0]

    def adopt(self, new: Task) -> None:
        """A task begins with what the one that made it has."""
        self._own[new] = dict(self._own.get(self.machine.kernel.task, {}))

    def switch(self, task: Task) -> None:
        """Another task runs: its entries, and %gs again from them."""
        for entry, (base, limit, pages) in self._own.get(task, {}).items():
            self._write(entry, base, limit, 0xF3, pages=pages)
        gs = self.machine.engine.get("gs")
        if gs >> 3 in range(FIRST, FIRST + COUNT):
            self.machine.engine.set("gs", gs)

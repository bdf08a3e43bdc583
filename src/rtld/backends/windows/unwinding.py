"""The stack of an x64 program, frame by frame: modules' tables, tables that the program has added, our own calls.

A table that was added (RtlAddFunctionTable) is the program's memory, and is looked at every time.
"""

from __future__ import annotations

import struct

from rtld.arch import x86_64_unwind as x64
from rtld.backends.windows import returns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.windows.context import Context64
    from rtld.backends.windows.system import System

_MOST_ROWS = 1 << 20


class Tables:
    """Who has a row for an address. ``added``: address of a table -> (base, rows); or, by callback, (base, end, function)."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.added: dict[int, tuple[int, int]] = {}
        self.callbacks: dict[int, tuple[int, int, int, int]] = {}
        self._known: dict[int, x64.UnwindInfo] = {}

    def find(self, pc: int) -> tuple[int, int] | None:
        """(image base, address of the row) of the function that an address is in; None for a leaf."""
        machine, loader = self.system.threads, self.system.loader
        kind = returns.kind_at(pc - machine.returns)
        if kind >= 0:
            return machine.returns, machine.returns + returns.row(kind)
        found = loader.unwind_row(pc)
        if found is not None:
            return found  # type: ignore[no-any-return]
        for table, (base, count) in self.added.items():
            row = self._search(table, count, pc - base)
            if row:
                return base, row
        return None

    def _search(self, table: int, count: int, rva: int) -> int:
        """The row in a table of the program, which is sorted; 0 without one."""
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            begin, end = struct.unpack("<II", self.system.memory.read(table + 12 * middle, 8))
            if rva < begin:
                high = middle
            elif rva >= end:
                low = middle + 1
            else:
                return table + 12 * middle
        return 0

    def add(self, table: int, count: int, base: int) -> bool:
        """RtlAddFunctionTable."""
        if not table or count > _MOST_ROWS:
            return False
        self.added[table] = (base, count)
        return True

    def row(self, base: int, address: int) -> x64.Function:
        """The row that stands there; one that only leads to another is followed."""
        read = self.system.memory.read
        function = x64.Function(*struct.unpack("<III", read(address, 12)))
        if function.unwind & 1:
            function = x64.Function(*struct.unpack("<III", read(base + function.unwind - 1, 12)))
        return function

    def info(self, base: int) -> Callable[[int], x64.UnwindInfo]:
        """A decoder of unwind information of the image at ``base``; that of modules is kept."""
        read, known = self.system.memory.read, self._known
        module = self.system.loader.by_handle(base)

        def decode(rva: int) -> x64.UnwindInfo:
            key = base + rva
            found = known.get(key)
            if found is None:
                found = x64.decode(lambda at, size: read(base + at, size), rva)
                if module is not None:
                    known[key] = found
            return found

        return decode

    def forget(self) -> None:
        """A module has gone, or come: what was decoded may be another's."""
        self._known.clear()

    def step(self, base: int, address: int, context: Context64, wanted: int = 3) -> x64.Step:
        """One step up, by the row at ``address``. BadUnwindInfo, NotMapped."""
        read = self.system.memory.read
        return x64.unwind(read, self.info(base), base, self.row(base, address), context, wanted)


def tables(system: System) -> Tables:
    """Those of the process."""
    found = system.cache.get("unwind tables")
    if found is None:
        found = system.cache["unwind tables"] = Tables(system)
    return found

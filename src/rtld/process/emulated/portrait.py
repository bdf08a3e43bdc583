"""The address space of an emulated process as people see it: what is where, with which rights, and what surrounds it."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.process.emulated.execve import Process
    from rtld.process.emulated.system import System


class Row(NamedTuple):
    """One range. ``rights`` as in /proc/PID/maps; "guard" where nobody may reach; ``offset`` into the file."""

    start: int
    end: int
    rights: str
    what: str
    offset: int


def rows(process: Process) -> list[Row]:
    """All ranges in ascending order; equal neighbours are one."""
    memory = process.machine.memory
    found: list[Row] = []
    for start, end, rights in memory.regions:
        letters = "".join(
            letter if rights & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4))
        )
        at = start
        pieces = memory.labels.pieces(start, end)
        for low, high, index in [*pieces, (end, end, -1)]:
            if at < low:
                found.append(Row(at, low, letters, "", 0))
            if low < high:
                what, origin = memory.sources[index]
                found.append(
                    Row(low, high, letters, what, low - origin if what.startswith("/") else 0)
                )
            at = high
    low, _ = process.stack
    found.append(Row(low - 0x1000, low, "---", "[guard of the stack]", 0))
    merged: list[Row] = []
    for row in sorted(found):
        last = merged[-1] if merged else None
        if last is not None and (last.end, last.rights, last.what) == (
            row.start,
            row.rights,
            row.what,
        ):
            merged[-1] = last._replace(end=row.end)
        else:
            merged.append(row)
    return merged


def draw(process: Process) -> str:
    """The map as text, the highest address first, as textbooks draw it."""
    digits = process.arch.bits // 4 if process.arch.bits == 32 else 10
    lines = []
    above = None
    for row in reversed(rows(process)):
        if above is not None and row.end < above:
            lines.append(f"  {'':{digits}}   {_size(above - row.end):>9}  ...")
        what = row.what or "anonymous"
        offset = f" +{row.offset:#x}" if row.offset else ""
        lines.append(
            f"  {row.start:0{digits}x}   {_size(row.end - row.start):>9}  {row.rights}  {what}{offset}"
        )
        above = row.start
    return "\n".join(lines) + "\n"


def as_json(process: Process) -> dict[str, object]:
    """The map for programs: addresses are numbers."""
    return {
        "layout": process.system.layout,
        "arch": process.arch.name,
        "ranges": [row._asdict() for row in rows(process)],
    }


def _size(count: int) -> str:
    for unit, width in (("G", 30), ("M", 20), ("K", 10)):
        if count >= 1 << width:
            return f"{count / (1 << width):.4g} {unit}iB"
    return f"{count} B"


def statistics(system: System) -> dict[str, object]:
    """What all processes of the machine have done together; system calls are those of the first one."""
    counters = system.cache.counters()
    calls = system.last.machine.kernel.calls if system.last is not None else {}
    return {
        "processes": system.family.started if system.family is not None else 0,
        "faults from cache": counters.cached,
        "faults from file": counters.read,
        "frames": counters.frames,
        "pages shared": counters.shared,
        "pages copied on write": counters.copied,
        "system calls": sum(calls.values()),
    }


def tell_statistics(system: System) -> str:
    """The same as text."""
    rows = statistics(system)
    wide = max(map(len, rows))
    return "".join(f"{name:>{wide}}: {value}\n" for name, value in rows.items())

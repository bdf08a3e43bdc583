"""What can be seen of a guest while it runs: accesses to memory, functions that are entered. Libraries and programs share it."""

from __future__ import annotations

import os
from typing import NamedTuple

from rtld.elf.functions import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rtld.backends.emulated.machine import Machine
    from rtld.elf.file import ElfFile

_WIDEST = 63  # bytes of an access that are behind its first


class Access(NamedTuple):
    """One access: "read" or "write", address, bytes, the value that is written (0 for a read), and where the code is."""

    what: str
    address: int
    size: int
    value: int
    place: str


class Block(NamedTuple):
    """A piece of code that the engine runs as one: its address, how often it has run, its bytes."""

    address: int
    runs: int
    size: int


def watch_memory(
    machine: Machine,
    low: int,
    high: int,
    place: Callable[[int], str],
    told: Callable[[Access], object],
) -> object:
    """Tell of each access of the guest's code to [low, high); the result is for ``machine.engine.remove``."""

    def touched(write: bool, address: int, size: int, value: int) -> None:
        if address >= high or address + size <= low:
            return
        mask = (1 << 8 * size) - 1
        where = place(machine.engine.get(machine.cpu.pc))
        told(
            Access("write" if write else "read", address, size, value & mask if write else 0, where)
        )

    # The engine looks at where an access begins.
    return machine.engine.on_access(max(low - _WIDEST, 0), high - 1, touched)


def describe(access: Access) -> str:
    """In words."""
    what, address, size, value, place = access
    stored = f" of {value:#x}" if what == "write" else ""
    return f"{what}{stored}, {size} byte{'s' * (size != 1)} at {address:#x}, by {place}"


def place_in(path: str, file: ElfFile, vaddr: int) -> str:
    """``libz.so.1: crc32+0x10``, or the offset where no function is known."""
    name, offset = function_at(file, vaddr)
    where = f"{name}+{offset:#x}" if name else f"{vaddr:#x}"
    return f"{os.path.basename(path)}: {where}"


def function_at(file: ElfFile, vaddr: int) -> tuple[str, int]:
    """The function an address of the file's is in, and how far; ("", 0) in none that has a name."""
    return names(file).function_at(vaddr)


def count_functions(
    blocks: Iterable[Block], base: int, file: ElfFile, functions: dict[str, int]
) -> None:
    """Add to *functions* how often each was entered; 0: its code ran, but not from its beginning."""
    for address, count, _size in blocks:
        name, offset = function_at(file, address - base)
        if name:
            functions[name] = functions.get(name, 0) + (count if offset == 0 else 0)

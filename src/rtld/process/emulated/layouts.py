"""Where things stand in the address space of an emulated process.

Linux (fs/binfmt_elf.c, mm/util.c): the program low (fixed) or at two thirds of the space, its heap behind it, the stack at
the top, and below that, growing down, everything that is mapped. Chance moves each of them.
"""

from __future__ import annotations

import os

from rtld.core.record import NamedTuple
from rtld.elf.types import ET_EXEC
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rtld.elf.file import ElfFile

PAGE = 0x1000
STACK = 8 << 20


def splitmix(seed: int) -> Iterator[int]:
    """Steele, Lea, Flood: splitmix64. A good sequence of 64-bit numbers from any seed."""
    mask = (1 << 64) - 1
    while True:
        seed = seed + 0x9E3779B97F4A7C15 & mask
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        yield z ^ z >> 31


class Chance:
    """Random numbers of one run: nobody's (*seed* None), or the same each time. ``fixed``: none at all."""

    def __init__(self, seed: int | None = None, *, fixed: bool = False) -> None:
        self.fixed = fixed
        self._numbers = splitmix(int.from_bytes(os.urandom(8), "little") if seed is None else seed)

    def pages(self, most: int) -> int:
        """A number of bytes: whole pages, fewer than *most* of them."""
        return 0 if self.fixed else next(self._numbers) % max(most, 1) * PAGE

    def bytes(self, count: int) -> bytes:
        """For AT_RANDOM."""
        return b"".join(next(self._numbers).to_bytes(8, "little") for _ in range(-(-count // 8)))[
            :count
        ]


class Layout(NamedTuple):
    """Addresses that execve asks for.

    program     base of an ET_DYN program that has an interpreter
    stack_top   the end of the main stack;  stack_size: of it; below it is a guard page
    area        where what may be anywhere goes: low, high, downwards; None: everywhere, from the top
    heap        where brk begins; 0: behind the program
    threads     stacks of threads go below that; 0: where mmap puts them
    """

    name: str
    program: int
    stack_top: int
    stack_size: int
    area: tuple[int, int, bool] | None = None
    heap: int = 0
    threads: int = 0


def choose(name: str, file: ElfFile, size: int, top: int, chance: Chance) -> Layout:
    """The layout of that name for an address space of *size* bytes of which *top* is the end that is free."""
    if name not in LAYOUTS:
        raise Unsupported(f"no layout {name!r}", f"known are {', '.join(LAYOUTS)}")
    return LAYOUTS[name](file, size, top, chance)


def linux(_file: ElfFile, size: int, top: int, chance: Chance) -> Layout:
    """fs/binfmt_elf.c: ELF_ET_DYN_BASE; mm/util.c: arch_pick_mmap_layout."""
    small = size <= 1 << 32
    wide = 1 << (8 if small else 19)
    program = 0x56555000 if small else size // 3 * 2 & -(1 << 20)
    program += chance.pages(wide)
    stack = top - chance.pages(wide >> 2)
    return Layout("linux", program, stack, STACK, area=(MMAP_MIN, stack - STACK - 2 * PAGE, True))


def qnx(file: ElfFile, size: int, top: int, chance: Chance) -> Layout:
    """BlackBerry 10: the program at the base, the main stack just below it, threads' stacks below that, the heap above;
    shared objects have a region of their own, from the top down ("Dynamic linking", process memory layout).
    """
    base = QNX_BASE
    if file.type == ET_EXEC:
        base = file.span[0] & -PAGE
    else:
        base += chance.pages(256)
    stack = min(QNX_STACK, (base - MMAP_MIN) // 4 & -PAGE)
    return Layout(
        "qnx", base, base, stack, area=(size // 2, top, True), threads=base - stack - 2 * PAGE
    )


def liteos(_file: ElfFile, size: int, top: int, chance: Chance) -> Layout:
    """OpenHarmony LiteOS-A (kernel/base/include/los_vm_zone.h, los_vm_common.h): the heap at a quarter, mmap from a half
    upwards, the main stack of 1 MiB at the top; ET_DYN programs from 32 MiB on.
    """
    heap, low = top >> 2 & -PAGE, top >> 1 & -PAGE
    program = LITEOS_PROGRAM + chance.pages(256)
    high = low + (size >> 3) * 3
    return Layout(
        "liteos", program, top - chance.pages(64), LITEOS_STACK, area=(low + chance.pages(256), high, False), heap=heap
    )  # fmt: skip


MMAP_MIN = 0x10000
QNX_BASE, QNX_STACK = 0x08048000, 512 << 10
LITEOS_PROGRAM, LITEOS_STACK = 0x02000000, 1 << 20
LAYOUTS: dict[str, Callable[[ElfFile, int, int, Chance], Layout]] = {
    "linux": linux,
    "qnx": qnx,
    "liteos": liteos,
}

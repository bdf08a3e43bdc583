"""Modules into a process: the calls that map a file, the bytes that replace the file's, the final protections."""

from __future__ import annotations

from rtld.backends.child.calls import NR
from rtld.core.space import page_up
from rtld.elf.load import protection
from rtld.elf.types import PF_W, PT_GNU_RELRO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rtld.backends.child.live_anchor import List
    from rtld.core.module import Module

PAGE = 4096

# fmt: off
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 0x01, 0x02, 0x10, 0x20
MAP_NORESERVE, MAP_FIXED_NOREPLACE = 0x4000, 0x100000
AT_FDCWD, O_RDONLY_CLOEXEC = -100, 0o2000000
# fmt: on


def page_down(value: int) -> int:
    return value & -PAGE


def span(module: Module) -> tuple[int, int]:
    """First address and the one behind the last, in whole pages."""
    low, high = module.file.span
    return module.base + low, module.base + page_up(high)


def add_mapping(calls: List, module: Module, path: int, *, reserved: bool = False) -> None:
    """Map the module's segments at its base; *path* is the address of the file's name.

    *reserved*: the whole range is ours already. Otherwise it is free, and gaps between segments are kept from others.
    """
    loads = module.file.loads
    fixed = MAP_PRIVATE | (MAP_FIXED if reserved else MAP_FIXED_NOREPLACE)
    if not reserved and _has_gaps(loads):
        start, end = span(module)
        calls.add(NR["mmap"], start, end - start, 0, fixed | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        fixed = MAP_PRIVATE | MAP_FIXED
    opened = calls.add(NR["openat"], AT_FDCWD, path, O_RDONLY_CLOEXEC)
    mapped = []
    for load in loads:
        start = page_down(module.base + load.vaddr)
        end = page_up(module.base + load.vaddr + load.filesz)
        if load.filesz:
            # One record later: the word that is moved into it comes first.
            calls.use(opened, len(calls) + 1, 4)
            prot = protection(load.flags)
            mapped.append(
                calls.add(NR["mmap"], start, end - start, prot, fixed, 0, page_down(load.offset))
            )
        else:
            end = start
        top = page_up(module.base + load.vaddr + load.memsz)
        if top > end:
            calls.add(
                NR["mmap"], end, top - end, protection(load.flags), fixed | MAP_ANONYMOUS, -1, 0
            )
    calls.use(opened, len(calls) + 1, 0)
    calls.add(NR["close"], 0)


def _has_gaps(loads: Iterable[Any]) -> bool:
    behind = None
    for load in loads:
        if behind is not None and page_down(load.vaddr) != behind:
            return True
        behind = page_up(load.vaddr + load.memsz)
    return False


def pieces(module: Module) -> list[tuple[int, bytes | bytearray | memoryview]]:
    """(address, bytes) of what linking has changed, with the zeros that follow in a segment's last page."""
    image = module.image
    result: list[tuple[int, bytes | bytearray | memoryview]] = []
    for load in image.segments:
        if load.filesz and (load.flags & PF_W or image.segments[0].flags & PF_W == 0):
            end = (
                page_up(load.vaddr + load.filesz)
                if load.memsz > load.filesz
                else load.vaddr + load.filesz
            )
            end = min(end, image.high)
            result.append(
                (module.base + load.vaddr, memoryview(image.view(load.vaddr, end - load.vaddr)))
            )
    return result


def add_relro(calls: List, module: Module) -> None:
    """Take the right to write from the part that is final (elf/dl-reloc.c, _dl_protect_relro)."""
    relro = module.file.segment(PT_GNU_RELRO)
    if relro is None:
        return
    start = page_down(module.base + relro.vaddr)
    end = page_down(module.base + relro.vaddr + relro.memsz)
    if start < end:
        calls.add(NR["mprotect"], start, end - start, PROT_READ)

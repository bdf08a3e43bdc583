"""GNU program properties: what a file needs of its CPU and of its linker (gABI for Linux, "Program Property").

Of an x86-64 file ld.so compares the levels of the instruction set with what the CPU has (sysdeps/x86/dl-prop.h), when all
files are loaded and their versions are there, and in the order in which it will relocate them.
"""

from __future__ import annotations

from rtld.core.module import Problem
from rtld.elf import types as t
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile

ONE_NEEDED, X86_ISA_NEEDED = 0xB0008000, 0xC0008002
_BASELINE = 1  # every CPU of the ABI has it


def property_word(file: ElfFile, wanted: int) -> int:
    """The bits of a property whose value is one word; 0 if the file does not have it."""
    order: Any = "little" if file.order == "<" else "big"
    segment = file.segment(t.PT_GNU_PROPERTY)
    number = wanted.to_bytes(4, order)
    if segment is None or segment.offset + segment.filesz > file.size:
        return 0
    if number not in bytes(file.contents(segment)):
        return 0
    try:
        notes = [note for note in file.notes() if note.type == t.NT_GNU_PROPERTY_TYPE_0]
    except FormatError:
        return 0
    result, align = 0, file.bits // 8
    for found in notes:
        at, desc = 0, found.desc if found.name == "GNU" else b""
        while at + 12 <= len(desc):
            size = int.from_bytes(desc[at + 4 : at + 8], order)
            if desc[at : at + 4] == number and size == 4:
                result |= int.from_bytes(desc[at + 8 : at + 12], order)
            at += 8 + (size + align - 1) // align * align
    return result


def first_too_new(ns: Namespace, modules: Iterable[Module]) -> Module | None:
    """The first of *modules* that needs a level of x86-64 which the CPU does not have."""
    if ns.model != "glibc" or ns.arch.name != "x86_64":
        return None
    for module in modules:
        needed = property_word(module.file, X86_ISA_NEEDED) & ~_BASELINE
        if needed and not ns.search.cpu.has_isa_level(needed.bit_length() - 1):
            return module
    return None


def check_isa(ns: Namespace) -> None:
    """A problem for what this CPU cannot run."""
    module = first_too_new(ns, ns.relocation_order)
    if module is not None:
        message = f"{module.path}: CPU ISA level is lower than required"
        ns.problems.append(Problem("ISA level", module.path, "x86 ISA needed", message))

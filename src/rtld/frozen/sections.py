"""Section headers and .symtab, for gdb, perf and nm; nothing that runs reads them.

Each module is one section, named after its file; .symtab has the functions and variables of all modules' dynamic symbols
under library-qualified names.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.frozen.plan import Plan

# fmt: off
_KINDS = {
    "PROGBITS": 1, "SYMTAB": 2, "STRTAB": 3, "RELA": 4, "DYNAMIC": 6, "NOTE": 7, "DYNSYM": 11,
    "GNU_HASH": 0x6FFFFFF6, "VERDEF": 0x6FFFFFFD, "VERNEED": 0x6FFFFFFE, "VERSYM": 0x6FFFFFFF,
}
_FLAGS = {"W": 1, "A": 2, "X": 4, "T": 0x400}
_ENTSIZE = {"DYNSYM": 24, "SYMTAB": 24, "RELA": 24, "DYNAMIC": 16, "VERSYM": 2}
# fmt: on


def number_sections(plan: Plan) -> None:
    """Section header numbers of the modules: 1 is the program."""
    for number, module in enumerate(plan.fused, 1):
        plan.section_of[module.index] = number


def section_headers(plan: Plan, size: int) -> tuple[bytes, tuple[int, int, int]]:
    """Bytes to stand behind the image's *size* bytes, and (e_shoff, e_shnum, e_shstrndx)."""
    names = bytearray(b"\0")
    rows: list[
        tuple[str, int, int, int, int, int, int]
    ] = []  # name, type, flags, address, offset, size, link
    for module in plan.fused:
        low, high = module.file.span
        name = os.path.basename(module.path)
        begin = module.base + low
        rows.append((name, 1, 6, begin, begin - plan.base, high - low, 0))
    order = list(plan.headers)
    first = len(rows) + 1
    number = {name: first + i for i, name in enumerate(order)}
    for name in order:
        kind, address, length, flags = plan.headers[name]
        bits = sum(_FLAGS[letter] for letter in flags)
        link = {
            "DYNSYM": ".dynstr", "DYNAMIC": ".dynstr", "VERDEF": ".dynstr", "VERNEED": ".dynstr",
            "GNU_HASH": ".dynsym", "VERSYM": ".dynsym", "RELA": ".dynsym",
        }.get(kind)  # fmt: skip
        rows.append(
            (
                name,
                _KINDS[kind],
                bits,
                address,
                address - plan.base,
                length,
                number[link] if link else 0,
            )
        )
    offsets = []
    for name in [*[row[0] for row in rows], ".shstrtab"]:
        offsets.append(len(names))
        names += os.fsencode(name) + b"\0"
    rows.append((".shstrtab", 3, 0, 0, size, len(names), 0))
    data = bytearray(names)
    data += bytes(-len(data) % 8)
    shoff = size + len(data)
    data += bytes(64)
    info = {
        "VERDEF": len(plan.symbols.versions.defined) + 1,
        "VERNEED": len({file for file, _ in plan.symbols.versions.needed}),
        "DYNSYM": 1,
    }
    kinds = {value: name for name, value in _KINDS.items()}
    for (_name, number_of_kind, mask, address, offset, length, link_to), at in zip(
        rows, offsets, strict=True
    ):
        title = kinds[number_of_kind]
        data += struct.pack(
            "<IIQQQQIIQQ", at, number_of_kind, mask, address, offset, length, link_to, info.get(title, 0), 8 if mask else 1,
            _ENTSIZE.get(title, 0),
        )  # fmt: skip
    return bytes(data), (shoff, len(rows) + 1, len(rows))

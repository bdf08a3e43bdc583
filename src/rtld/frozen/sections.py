"""Section headers and .symtab, for gdb, perf and nm; nothing that runs reads them.

Each module is one section, named after its file; .symtab has the functions and variables of all modules' dynamic symbols
under library-qualified names.
"""

from __future__ import annotations

import os
import struct

import numpy as np

from rtld.arch.x86_64_freeze import START
from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.frozen.exports import SYMBOL, definitions, symbol_rows
from rtld.frozen.symtab import unstripped
from rtld.frozen.unwind import debugger_frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from rtld.elf.flat import I64
    from rtld.frozen.plan import Plan
    from rtld.frozen.symtab import StaticSymbols

# fmt: off
_KINDS = {
    "PROGBITS": 1, "SYMTAB": 2, "STRTAB": 3, "RELA": 4, "DYNAMIC": 6, "NOTE": 7, "DYNSYM": 11,
    "GNU_HASH": 0x6FFFFFF6, "VERDEF": 0x6FFFFFFD, "VERNEED": 0x6FFFFFFE, "VERSYM": 0x6FFFFFFF,
}
_LINKS = {
    "DYNSYM": ".dynstr", "DYNAMIC": ".dynstr", "VERDEF": ".dynstr", "VERNEED": ".dynstr",
    "GNU_HASH": ".dynsym", "VERSYM": ".dynsym", "RELA": ".dynsym",
}
_FLAGS = {"W": 1, "A": 2, "X": 4, "T": 0x400}
_ALIGN = {"NOTE": 4, "VERSYM": 2, "STRTAB": 1}
_BATCH = 1 << 15  # names copied at a time
_ENTSIZE = {"DYNSYM": 24, "SYMTAB": 24, "RELA": 24, "DYNAMIC": 16, "VERSYM": 2}
# fmt: on


def number_sections(plan: Plan) -> None:
    """Section header numbers of the modules: 1 is the program."""
    for number, module in enumerate(plan.fused, 1):
        plan.section_of[module.index] = number


def symbol_table(plan: Plan) -> tuple[list[Any], list[Any], int]:
    """(.symtab, .strtab, first global symbol): every definition of every module as ``name @file``, the program's own bare.

    Both in parts to be written one behind the other: they are the largest tables of an image.
    """
    static = unstripped(plan)
    rows = definitions(plan)
    if static:
        rows.keep(~np.isin(rows.module, list(static)))
    rows.keep((rows.section != t.SHN_UNDEF) & (rows.section != t.SHN_ABS))
    columns = plan.ns.columns
    symbols = symbol_rows(plan, rows)
    thread = (rows.info & np.uint32(15)) == t.STT_TLS
    # A symbol of its own section only: gdb and perf want addresses, not offsets in a thread's block.
    rows.keep(~thread)
    symbols = symbols[~thread]
    owner, name = rows.module, rows.name
    for index, more in static.items():
        symbols = np.concatenate([_placed(plan, index, more), symbols])
        owner = np.concatenate([np.full(len(more.rows), index, np.int64), owner])
        name = np.concatenate([more.name, name])
    names = columns.names(name)
    # gdb takes a name like f@libx.so for one of Ada, and shows it as f@libx[so], unless there is a blank in it; a mangled
    # name must be followed by the @ at once.
    suffixes = [b""] * (2 * len(columns.modules))
    for module in plan.fused[1:]:
        suffix = b"@" + os.fsencode(os.path.basename(module.path))
        suffixes[2 * module.index : 2 * module.index + 2] = b" " + suffix, suffix
    mangled = flat("<u2")[names.position] == int.from_bytes(b"_Z", "little")
    which = 2 * owner + mangled
    strings, offsets = _qualified(names.position, names.length, which, suffixes)
    symbols["st_name"] = offsets
    own, own_names = _own_symbols(plan, len(strings))
    # Local symbols come first (gABI, "Symbol Table": sh_info).
    local = symbols["st_info"] >> 4 == t.STB_LOCAL
    count = int(local.sum())
    globals_ = symbols[~local] if count else symbols
    table = [bytes(24), own.view(np.uint8), symbols[local].view(np.uint8), globals_.view(np.uint8)]
    return table, [strings, own_names], 1 + len(own) + count


def _placed(plan: Plan, index: int, static: StaticSymbols) -> NDArray[np.void]:
    """A module's static symbols at their places in the image."""
    module = plan.ns.columns.modules[index]
    out = np.zeros(len(static.rows), SYMBOL)
    out["st_info"] = static.rows["info"]
    out["st_value"] = static.rows["value"].astype(np.int64) + module.base
    out["st_size"] = static.rows["size"]
    out["st_shndx"] = plan.section_of[index]
    return out


def _qualified(
    position: I64, length: I64, which: I64, suffixes: list[bytes]
) -> tuple[NDArray[np.uint8], I64]:
    """All names with suffix number *which*, one behind the other, and where each begins."""
    tails = np.frombuffer(b"".join(suffixes) or b"\0", np.uint8)
    tail_length = np.array([len(s) for s in suffixes], np.int64)
    tail_begin = np.cumsum(tail_length) - tail_length
    total = length + tail_length[which] + 1
    begin = 1 + np.cumsum(total) - total
    out = np.zeros(1 + int(total.sum()), np.uint8)
    for low in range(0, len(length), _BATCH):
        rows = slice(low, low + _BATCH)
        at, source = _spread(begin[rows], position[rows], length[rows])
        out[at] = flat("|u1")[source]
        at, source = _spread(
            (begin + length)[rows], tail_begin[which[rows]], tail_length[which[rows]]
        )
        out[at] = tails[source]
    return out, begin


def _spread(target: I64, source: I64, length: I64) -> tuple[I64, I64]:
    """Indices of every byte of runs of *length* from *source* to *target*."""
    ends = np.cumsum(length)
    step = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - length, length)
    return np.repeat(target, length) + step, np.repeat(source, length) + step


def _own_symbols(plan: Plan, begin: int) -> tuple[NDArray[np.void], bytes]:
    """The image's own code, and the names, which are to stand at *begin* of .strtab."""
    from rtld.frozen.startup import label

    rows = np.zeros(2, SYMBOL)
    strings = bytearray()
    code = len(plan.fused) + 1
    trampolines = 8 * len(plan.imports.module)
    for row, (name, address, size) in zip(
        rows,
        (
            ("rtld_trampolines", plan.code, trampolines),
            ("rtld_start", label(plan, "start"), len(START)),
        ),
        strict=True,
    ):
        row["st_name"], row["st_info"], row["st_shndx"] = begin + len(strings), 2, code
        row["st_value"], row["st_size"] = address, size
        strings += name.encode() + b"\0"
    return rows, bytes(strings)


class Headers:
    """Section headers being written: names, and rows of (name, kind, flags, address, offset, size, link, info)."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: list[tuple[str, int, int, int, int, int, int]] = []

    def add(
        self,
        name: str,
        kind: str,
        flags: int,
        address: int,
        offset: int,
        size: int,
        link: int = 0,
        info: int = 0,
    ) -> None:
        self.names.append(name)
        self.rows.append((kind, flags, address, offset, size, link, info))

    def bytes(self, names_at: int) -> tuple[bytes, bytes]:
        """(.shstrtab, which will stand at *names_at*, and all headers, beginning with the null one)."""
        strings, at = bytearray(b"\0"), []
        self.add(".shstrtab", "STRTAB", 0, 0, names_at, 0)
        for name in self.names:
            at.append(len(strings))
            strings += os.fsencode(name) + b"\0"
        out = bytearray(64)
        for number, (kind, flags, address, offset, size, link, info) in enumerate(self.rows):
            last = number + 1 == len(self.rows)
            align = _ALIGN.get(kind, 8) if flags else 1
            out += struct.pack(
                "<IIQQQQIIQQ", at[number], _KINDS[kind], flags, address, offset, len(strings) if last else size, link,
                info, align, _ENTSIZE.get(kind, 0),
            )  # fmt: skip
        return bytes(strings), bytes(out)


def section_headers(plan: Plan, size: int) -> tuple[list[Any], tuple[int, int, int]]:
    """Parts to stand behind the image's *size* bytes, and (e_shoff, e_shnum, e_shstrndx)."""
    headers = Headers()
    _add_modules(plan, headers)
    _add_tables(plan, headers)
    symtab, strtab, first_global = symbol_table(plan)
    frames_for = (plan.end + 0xFFFF) & -0x10000  # any place that nothing else has
    frames = debugger_frames(plan, frames_for)
    at = size
    for name, kind, parts, info in (
        (".symtab", "SYMTAB", symtab, first_global),
        (".strtab", "STRTAB", strtab, 0),
        (".eh_frame", "PROGBITS", [frames], 0),
    ):
        length = sum(len(part) for part in parts)
        link = len(headers.rows) + 2 if kind == "SYMTAB" else 0
        address = frames_for if kind == "PROGBITS" else 0
        headers.add(name, kind, 0, address, at, length, link, info)
        at += length
    names, rows = headers.bytes(at)
    padding = bytes(-(at + len(names)) % 8)
    count = len(headers.rows)
    place = at + len(names) + len(padding)
    return [*symtab, *strtab, frames, names, padding, rows], (place, count + 1, count)


def _add_modules(plan: Plan, headers: Headers) -> None:
    """A section for each module, and one for the new code."""
    for module in plan.fused:
        low, high = module.file.span
        begin = module.base + low
        if module is plan.main:
            # Its segments are the image's: gdb wants no section that spans two.
            code = [load for load in module.file.loads if load.flags & t.PF_X] or module.file.loads
            begin, high = module.base + code[0].vaddr, low + code[0].memsz
        name = os.path.basename(module.path)
        headers.add(name, "PROGBITS", 6, begin, begin - plan.base, high - low)
    headers.add(".rtld.code", "PROGBITS", 6, plan.code, plan.code - plan.base, plan.code_size)


def _add_tables(plan: Plan, headers: Headers) -> None:
    """What ld.so reads."""
    first = len(headers.rows) + 1
    number = {name: first + i for i, name in enumerate(plan.headers)}
    info = {
        "VERDEF": len(plan.symbols.versions.defined) + 1,
        "VERNEED": len({file for file, _ in plan.symbols.versions.needed}),
        "DYNSYM": 1,
    }
    for name, (kind, address, length, flags) in plan.headers.items():
        mask = sum(_FLAGS[letter] for letter in flags)
        link = number[_LINKS[kind]] if kind in _LINKS else 0
        offset = address - plan.base
        headers.add(name, kind, mask, address, offset, length, link, info.get(kind, 0))

"""What ld.so reads of the image: the tables at its end, the dynamic section, the import slots."""

from __future__ import annotations

import os
import struct

import numpy as np

from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.frozen.exports import soname
from rtld.frozen.lookup import modules_table, names_table
from rtld.frozen.manifest import note
from rtld.frozen.relocate import tls_image
from rtld.frozen.startup import (
    make_steps,
    module_names,
    services,
    terminators,
    write_code,
)
from rtld.frozen.unwind import merged_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.core.module import Module
    from rtld.frozen.layout import Protections
    from rtld.frozen.plan import Plan, Stamp
    from rtld.frozen.startup import Steps

_RELATIVE = 8


class Part:
    """Sections of one part of the image, one behind the other."""

    def __init__(self, plan: Plan, address: int) -> None:
        self.plan = plan
        self.at = address

    def add(
        self, name: str, data: bytes, kind: str = "PROGBITS", align: int = 8, flags: str = "A"
    ) -> int:
        """Put *data* next; returns its address."""
        self.at += -self.at % align
        address = self.at
        self.plan.put(address, data)
        self.at += len(data)
        if len(data):  # readers take an empty table for a broken one
            self.plan.headers[name] = (kind, address, len(data), flags)
        return address


class DataSizes:
    """Sizes of the new data, known before there are addresses."""

    def __init__(self, plan: Plan) -> None:
        self.slots = 8 * (len(plan.imports.slots) + (0 if plan.lazy else len(plan.imports.module)))
        self.needed = [m for m in plan.hosted if m is not plan.ns.interp or _asked_for(plan, m)]
        self.dynamic = 16 * (len(self.needed) + 40)
        functions = sum((m.file.dynamic.get(t.DT_FINI_ARRAYSZ, 0) or 0) + 8 for m in plan.fused)
        self.fini = functions
        self.tls = plan.ns.tls.size
        align = max(plan.ns.tls.align, 16)
        self.names = [module_names(m) for m in plan.fused[1:]] if plan.aliasing else []
        self.relro = -(-(self.slots + self.dynamic + self.fini) // align) * align + self.tls + 64
        self.data = plan.imports.data_size + sum(
            25 + len(name) for names in self.names for name in names
        )


def _asked_for(plan: Plan, module: Module) -> bool:
    return any(module in other.needed for other in plan.fused)


Entries = list[tuple[int, int]]  # of the dynamic section


def write_tables(
    plan: Plan, sizes: DataSizes, protections: Protections, stamps: Sequence[Stamp]
) -> None:
    """Everything new; afterwards ``plan.end`` is known and all pieces are there."""
    strings, versions = plan.symbols.strings, plan.symbols.versions
    dynamic_at = plan.relro + -(-sizes.slots // 16) * 16
    plan.debug = dynamic_at + 8  # the value of DT_DEBUG, which stands first
    entries: Entries = [(t.DT_DEBUG, 0)]
    entries += [(t.DT_NEEDED, strings.add(_needed_name(plan, m))) for m in sizes.needed]
    runpath = run_path(plan)
    if runpath:
        entries.append((t.DT_RUNPATH, strings.add(os.fsencode(runpath))))
    entries += _own_initialisers(plan.main)
    # The strings of versions are added here; then the table is complete.
    verneed, files = versions.verneed(strings)
    verdef = versions.verdef(strings, os.fsencode(os.path.basename(plan.main.path)))
    relative = _write_relro(plan, sizes, dynamic_at, entries)
    _write_names(plan, sizes, relative)
    tables = Part(plan, plan.tables)
    _write_symbols(plan, tables, entries)
    if files:
        at = tables.add(".gnu.version_r", verneed, "VERNEED")
        entries += [(t.DT_VERNEED, at), (t.DT_VERNEEDNUM, files)]
    if verdef:
        at = tables.add(".gnu.version_d", verdef, "VERDEF")
        entries += [(t.DT_VERDEF, at), (t.DT_VERDEFNUM, len(versions.defined) + 1)]
    _write_relocations(plan, tables, relative, entries)
    _write_start(plan, tables, make_steps(plan, protections, stamps), entries)
    hdr_at = (tables.at + 7) & -8
    table = merged_table(plan, hdr_at)
    plan.segments["unwind"] = (tables.add(".eh_frame_hdr", table), len(table))
    data = note(plan, stamps)
    plan.segments["note"] = (tables.add(".note.rtld", data, "NOTE", 4), len(data))
    plan.end = page_up(tables.at)
    _write_dynamic(plan, dynamic_at, sizes.dynamic, entries)


def _write_relro(plan: Plan, sizes: DataSizes, dynamic_at: int, entries: Entries) -> list[int]:
    """What is read-only once ld.so is done; the addresses of its words that hold an address."""
    part = Part(plan, plan.relro)
    part.add(".got", bytes(sizes.slots), flags="WA")
    part.at = dynamic_at + sizes.dynamic
    functions = terminators(plan)
    fini_at = part.add(".fini_array", struct.pack(f"<{len(functions)}Q", *functions), flags="WA")
    entries += [(t.DT_FINI_ARRAY, fini_at), (t.DT_FINI_ARRAYSZ, 8 * len(functions))]
    relative = list(range(fini_at, part.at, 8))
    if plan.ns.tls.size:
        image, words = tls_image(plan)
        tls_at = part.add(".tdata", image, align=max(plan.ns.tls.align, 16), flags="WAT")
        relative += [tls_at + word for word in words]
        plan.segments["tls"] = (tls_at, len(image))
    return relative


def _write_symbols(plan: Plan, tables: Part, entries: Entries) -> None:
    symbols = plan.symbols
    hash_at = tables.add(".gnu.hash", symbols.hash, "GNU_HASH")
    symtab_at = tables.add(".dynsym", symbols.symbols.tobytes(), "DYNSYM")
    versym_at = tables.add(".gnu.version", symbols.versym.astype("<u2").tobytes(), "VERSYM", 2)
    entries += [(t.DT_GNU_HASH, hash_at), (t.DT_SYMTAB, symtab_at), (t.DT_SYMENT, 24)]
    entries.append((t.DT_VERSYM, versym_at))


def _write_relocations(plan: Plan, tables: Part, relative: list[int], entries: Entries) -> None:
    rela, jumps = _relocations(plan, relative)
    rela_at = tables.add(".rela.dyn", rela, "RELA")
    jumps_at = tables.add(".rela.plt", jumps, "RELA")
    entries += [(t.DT_RELA, rela_at), (t.DT_RELASZ, len(rela)), (t.DT_RELAENT, 24)]
    if plan.pie and relative:
        entries.append((t.DT_RELACOUNT, len(relative)))
    if plan.lazy:
        entries += [(t.DT_PLTGOT, plan.got), (t.DT_JMPREL, jumps_at)]
        entries += [(t.DT_PLTRELSZ, len(jumps)), (t.DT_PLTREL, t.DT_RELA)]
    else:
        entries.append((t.DT_FLAGS, t.DF_BIND_NOW))
    flags = (0 if plan.lazy else t.DF_1_NOW) | (t.DF_1_PIE if plan.pie else 0)
    entries.append((t.DT_FLAGS_1, flags))


def _write_start(plan: Plan, tables: Part, steps: Steps, entries: Entries) -> None:
    """The start-up plan, the strings, the tables of the services, and the code that reads all these."""
    plan_at = (tables.at + 15) & -16
    tables.at = plan_at
    entry = plan.main.base + plan.main.file.entry
    tables.add(".rtld.start", steps.bytes(plan_at, entry), align=16)
    strings = plan.symbols.strings
    plan.strings_at = tables.add(".dynstr", b"".join(strings.parts), "STRTAB", 1)
    entries += [(t.DT_STRTAB, plan.strings_at), (t.DT_STRSZ, strings.size)]
    if services(plan):
        plan.lookup_tables = (
            tables.add(".rtld.names", names_table(plan)),
            tables.add(".rtld.modules", modules_table(plan, tables.at + 7 & -8)),
        )
    write_code(plan, plan_at)


def _write_dynamic(plan: Plan, address: int, room: int, entries: Entries) -> None:
    data = b"".join(struct.pack("<QQ", *entry) for entry in [*entries, (t.DT_NULL, 0)])
    assert len(data) <= room
    plan.put(address, data)
    plan.headers[".dynamic"] = ("DYNAMIC", address, len(data), "WA")
    plan.segments["dynamic"] = (address, len(data))


def _needed_name(plan: Plan, module: Module) -> bytes:
    """By which name ld.so finds a hosted module: libc's by soname, others where they were found."""
    return (
        soname(plan, module.index)
        if module.is_libc_family
        else os.fsencode(os.path.abspath(module.path))
    )


def _own_initialisers(main: Module) -> list[tuple[int, int]]:
    """DT_INIT and DT_INIT_ARRAY of the program; libc runs them, and older programs themselves."""
    dynamic = main.file.dynamic
    result = []
    if dynamic.get(t.DT_INIT):
        result.append((t.DT_INIT, main.base + dynamic[t.DT_INIT]))
    if dynamic.get(t.DT_INIT_ARRAYSZ):
        result.append((t.DT_INIT_ARRAY, main.base + dynamic[t.DT_INIT_ARRAY]))
        result.append((t.DT_INIT_ARRAYSZ, dynamic[t.DT_INIT_ARRAYSZ]))
    return result


def _relocations(plan: Plan, relative: list[int]) -> tuple[bytes, bytes]:
    """RELATIVE for our own words of a position-independent image, the imports, COPY last; apart: what is bound lazily."""
    out, jumps = bytearray(), bytearray()
    jump_slot = plan.ns.arch.reloc_types.jump_slot
    if plan.pie:
        values = _values(plan, relative)
        for place, value in zip(relative, values, strict=True):
            out += struct.pack("<QQQ", place, _RELATIVE, value)
    for place, symbol, kind, addend in plan.symbols.relocations:
        part = jumps if plan.lazy and kind == jump_slot else out
        part += struct.pack("<QQq", place, symbol << 32 | kind, addend)
    return bytes(out), bytes(jumps)


def _values(plan: Plan, places: list[int]) -> list[int]:
    """What stands at places of the new data."""
    result = []
    pieces = sorted((p for p in plan.pieces if plan.relro <= p.address), key=lambda p: p.address)
    starts = np.array([p.address for p in pieces], np.int64)
    for place in places:
        piece = pieces[int(np.searchsorted(starts, place, side="right")) - 1]
        at = place - piece.address
        result.append(int.from_bytes(piece.data[at : at + 8], "little"))
    return result


def _write_names(plan: Plan, sizes: DataSizes, relative: list[int]) -> None:
    """The chain of struct libname_list {name, next, dont_free} that the start-up code appends to our link_map."""
    names = [name for module in sizes.names for name in module]
    if not names:
        return
    first = plan.names = plan.data + plan.imports.data_size
    text_at = first + 24 * len(names)
    nodes, texts = bytearray(), bytearray()
    for number, name in enumerate(names):
        after = first + 24 * (number + 1) if number + 1 < len(names) else 0
        nodes += struct.pack("<QQQ", text_at + len(texts), after, 1)
        texts += name + b"\0"
        relative += (
            [first + 24 * number, first + 24 * number + 8] if after else [first + 24 * number]
        )
    plan.put(first, bytes(nodes + texts))


def run_path(plan: Plan) -> str:
    """Where dlopen looks for what is not in the image: the directories of all modules' DT_RUNPATH and DT_RPATH."""
    directories: dict[str, None] = {}
    for module in plan.fused:
        for text in (module.file.runpath, module.file.rpath):
            for directory in (text or "").split(":"):
                if directory:
                    origin = os.path.dirname(
                        os.path.realpath(module.path) if module is plan.main else module.path
                    )
                    origin = os.path.abspath(origin)
                    expanded = directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
                    directories[expanded] = None
    return ":".join(directories)

"""PLT slots that wait for their first call, and calls that Python watches.

Everything has been resolved when a library is loaded; a lazy module's slots only get their values later, by machine code
(``bind`` in ``arch/x86_64_inprocess.py``). What nobody defined yet is looked up again at the first call, as glibc does.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from rtld.backends import inprocess as machine
from rtld.elf import types as t
from rtld.elf.dlopen import default_scope
from rtld.elf.flat import ORIGIN, flat, flat_bytes, position
from rtld.elf.load import binds_now
from rtld.elf.scalar import dynsym
from rtld.elf.tables import tables
from rtld.errors import RtldError
from rtld.process.inprocess.calls import look_up_or_load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module
    from rtld.process.inprocess.load import Loading
    from rtld.process.inprocess.space import Process, Space

_SLOT = 7  # R_X86_64_JUMP_SLOT


def _words() -> Any:
    """The whole address space as words that can be stored to."""
    memory = flat_bytes()
    return np.ndarray((len(memory) - 7,), "<u8", memory, strides=(1,))


class LazyTable:
    """The slots of one module: rows of (address, value), as the machine code reads them. Value 0: ask Python."""

    __slots__ = ("module", "rows", "space")

    def __init__(self, space: Space, module: Module, rows: Any) -> None:
        self.space = space
        self.module = module
        self.rows = rows

    @property
    def address(self) -> int:
        """Where the rows are: the module's GOT[1]."""
        return int(self.rows.__array_interface__["data"][0])

    def bind_all(self) -> None:
        """Store every value that is known, as LD_BIND_NOW would have."""
        known = np.flatnonzero(self.rows[:, 1])
        _words()[self.rows[known, 0].astype(np.int64) - ORIGIN] = self.rows[known, 1]

    def name(self, index: int) -> tuple[str, str | None]:
        """Symbol and version of record *index* of DT_JMPREL."""
        file = self.module.file
        run = next(run for run in tables(file).relocs if run.plt)
        info = int(flat("<u8")[run.position + index * run.entsize + 8])
        table = dynsym(file)
        name = os.fsdecode(table.name(info >> 32))
        raw = table.version(info >> 32)
        version = table.version_names().get(raw & 0x7FFF) if raw >= 0 else None
        return name, os.fsdecode(version) if version else None


def leave_lazy(loading: Loading) -> None:
    """Make the slots of modules that may be bound lazily wait; their values go to a table."""
    if loading.ns.search.env.get("LD_BIND_NOW"):
        return
    words, read = _words(), flat("<u8")
    for module in loading.own:
        runs = [run for run in tables(module.file).relocs if run.plt and run.entsize == 24]
        got = module.file.dynamic.get(t.DT_PLTGOT)
        if not runs or got is None or binds_now(module) or not _inside(module, got, 24):
            continue
        run = runs[0]
        at = run.position + 24 * np.arange(run.count)
        offset = read[at].astype(np.int64)
        first, last = int(offset.min()), int(offset.max())
        if not _writable(module, first, last + 8 - first):
            continue
        load = next(s for s in module.file.loads if s.vaddr <= first < s.vaddr + s.memsz)
        if last + 8 > load.vaddr + load.filesz:
            continue
        # The first words of the GOT may be in PT_GNU_RELRO, which is not closed yet; the slots may not.
        is_slot = (read[at + 8] & np.uint64(0xFFFFFFFF)) == _SLOT
        slots = offset + (module.base - ORIGIN)
        stored = read[position(module.file.data) + load.offset + offset - load.vaddr]
        value = read[slots]
        rows = np.zeros((run.count, 2), np.uint64)
        rows[:, 0] = slots + ORIGIN
        # What nobody defines leads to its PLT entry still; an undefined weak function is 0 and stays so.
        waiting = stored + np.uint64(module.base)
        rows[:, 1] = np.where(is_slot & (value != stored) & (value != waiting), value, 0)
        wait = np.flatnonzero(is_slot & (value != 0))
        words[slots[wait]] = waiting[wait]
        table = LazyTable(loading.space, module, rows)
        loading.lazy[module] = table
        loading.keep.setdefault(module, []).append(table)
        machine.write_word(module.base + got + 8, table.address)
        machine.write_word(module.base + got + 16, loading.space.process.code.label("bind"))


def _writable(module: Module, vaddr: int, size: int) -> bool:
    """Whether a range stays writable: in a segment that is, and not in PT_GNU_RELRO."""
    relro = module.file.segment(t.PT_GNU_RELRO)
    if relro is not None:
        end = relro.vaddr + relro.memsz & -4096
        if vaddr < end and vaddr + size > relro.vaddr:
            return False
    return _inside(module, vaddr, size)


def _inside(module: Module, vaddr: int, size: int) -> bool:
    return any(
        s.flags & t.PF_W and s.vaddr <= vaddr and vaddr + size <= s.vaddr + s.memsz
        for s in module.file.loads
    )


def bind_slot(process: Process, address: int, index: int) -> int:
    """Fill a slot whose value was not known; like glibc, the process ends when there is still none."""
    for space in process.spaces:
        for table in space.lazy.values():
            if table.address == address:
                return _bind(table, index)
    os._exit(127)


def _bind(table: LazyTable, index: int) -> int:
    space, module = table.space, table.module
    name, version = table.name(index)
    scope = default_scope(space.ns, space.opened, module)
    try:
        value = look_up_or_load(space, module, scope, name, version)
    except RtldError as error:  # also of a library that was left until now
        text = f"{sys.orig_argv[0]}: symbol lookup error: {error}\n"
        os.write(2, os.fsencode(text))
        os._exit(127)
    table.rows[index, 1] = value
    machine.write_word(int(table.rows[index, 0]), value)
    return value

"""Debuggers and profilers told of what is loaded: gdb through its JIT interface, perf through its map file. On request.

struct jit_code_entry { next, prev, symfile_addr, symfile_size }; the descriptor has version, action, the entry the action is
about, and the first entry. gdb has a breakpoint on ``__jit_debug_register_code``.
"""

from __future__ import annotations

import os
import struct

from rtld.backends import inprocess as machine
from rtld.elf import types as t
from rtld.elf.scalar import dynsym
from rtld.elf.symbolfile import DESCRIPTOR, REGISTER, holder, symbol_file
from rtld.process.inprocess.space import Process, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.core.module import Module

_REGISTER, _UNREGISTER = 1, 2


def functions(module: Module) -> Iterator[tuple[str, int, int]]:
    """(name, address, size) of the functions a module offers."""
    from rtld.elf.tables import tables

    table = dynsym(module.file)
    for index in range(1, tables(module.file).nsyms):
        symbol = table.symbol(index)
        if symbol.section and symbol.info & 15 in (t.STT_FUNC, t.STT_GNU_IFUNC):
            yield os.fsdecode(table.name(index)), module.base + symbol.value, symbol.size


class Debugging:
    """Keeps gdb's list and perf's file like what is loaded. ``Process.publish`` calls ``update``."""

    def __init__(self, owner: Process, *, gdb: bool, perf: bool) -> None:
        self.process = owner
        self.perf = open(f"/tmp/perf-{os.getpid()}.map", "a") if perf else None  # noqa: S108, SIM115 - perf's own name
        self.entries: dict[Module, tuple[Any, Any]] = {}
        self.told: set[Module] = set()
        self.base = 0
        if gdb:
            # gdb reads the file by the name ld.so has for it, so the descriptor stays open.
            self.fd = os.memfd_create("librtld-jit.so")
            os.write(self.fd, holder())
            handle = machine.host_open(
                f"/proc/{os.getpid()}/fd/{self.fd}".encode(), machine.RTLD_NOW
            )
            self.base = machine.read_word(handle)

    def update(self) -> None:
        """Tell what is new, and what is gone."""
        present = {module for _space, module in self.process.own_modules()}
        if self.base:
            for module in [m for m in self.entries if m not in present]:
                self._unregister(module)
            for module in present - self.entries.keys():
                self._register(module)
        if self.perf is not None:
            for module in present - self.told:
                for name, address, size in functions(module):
                    self.perf.write(f"{address:x} {size or 1:x} {name}\n")
            self.perf.flush()
        self.told = present

    def _register(self, module: Module) -> None:
        text = [
            (f".text.{i}" if i else ".text", module.base + s.vaddr, s.memsz)
            for i, s in enumerate([s for s in module.file.loads if s.flags & t.PF_X])
        ]
        file = machine.buffer(symbol_file(text, functions(module)))
        head = machine.read_word(self.base + DESCRIPTOR + 16)
        entry = machine.buffer(struct.pack("<QQQQ", head, 0, machine.address_of(file), len(file)))
        at = machine.address_of(entry)
        if head:
            machine.write_word(head + 8, at)
        machine.write_word(self.base + DESCRIPTOR + 16, at)
        self.entries[module] = entry, file
        self._call(_REGISTER, at)

    def _unregister(self, module: Module) -> None:
        entry, _file = self.entries.pop(module)
        after, before = struct.unpack("<QQ", bytes(entry)[:16])
        if after:
            machine.write_word(after + 8, before)
        machine.write_word(before or self.base + DESCRIPTOR + 16, after)
        self._call(_UNREGISTER, machine.address_of(entry))

    def _call(self, action: int, entry: int) -> None:
        machine.write_word(self.base + DESCRIPTOR + 8, entry)
        machine.write(self.base + DESCRIPTOR + 4, action.to_bytes(4, "little"))
        machine.call(self.base + REGISTER)
        machine.write(self.base + DESCRIPTOR + 4, bytes(4))


def debugging(*, gdb: bool = True, perf: bool = False) -> None:
    """From now on gdb sees the functions of libraries loaded by us, and perf gets a map file of them."""
    owner = process()
    with owner.lock:
        owner.debugging = Debugging(owner, gdb=gdb, perf=perf)
        owner.debugging.update()

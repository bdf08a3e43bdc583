"""What libraries in a guest ask of a dynamic linker: dlopen and its family, and the tables of unwinders.

libc's own functions of these names know nothing of what we have loaded. References of our modules to them lead to Python.
"""

from __future__ import annotations

import os

from rtld.arch.calling import CALLED
from rtld.elf import types as t
from rtld.elf.dlopen import DlError, default_scope, find_symbol, next_scope
from rtld.elf.scalar import dynsym
from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtld.core.module import Module
    from rtld.process.foreign.world import World

RTLD_DEFAULT, RTLD_NEXT = 0, -1
_EXIDX_ENTRY = 8


class Services:
    """The functions, each with its address in the guest."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._error: bytes | None = None
        self._kept: dict[bytes, int] = {}
        self._addresses: dict[str, int] = {}
        self._functions = self.table()

    def table(self) -> dict[str, tuple[Callable[..., int], int, bool]]:
        """Name -> (what it does, how many arguments, whether its result is an address)."""
        # fmt: off
        return {
            "dlopen":                  (self.dlopen,          2, True),
            "dlsym":                   (self.dlsym,           2, True),
            "dlvsym":                  (self.dlvsym,          3, True),
            "dlinfo":                  (self.dlinfo,          3, False),
            "dlmopen":                 (self.dlmopen,         3, True),
            "dlclose":                 (self.dlclose,         1, False),
            "dlerror":                 (self.dlerror,         0, True),
            "dladdr":                  (self.dladdr,          2, False),
            "dl_iterate_phdr":         (self.iterate,         2, False),
            "_dl_find_object":         (self.find_object,     2, False),
            "__gnu_Unwind_Find_exidx": (self.find_exidx,      2, True),
        }
        # fmt: on

    def replace(self, modules: Sequence[Module]) -> None:
        """Ours instead of those of these hosted modules."""
        for module in modules:
            table = dynsym(module.file)
            for name, (function, count, is_address) in self._functions.items():
                for index in table.named(name.encode()):
                    if table.symbol(index).section != t.SHN_UNDEF:
                        if name not in self._addresses:
                            self._addresses[name] = self._make(function, count, is_address)
                        self.world.ns.overrides[module, index] = self._addresses[name]

    def _make(self, function: Callable[..., int], count: int, is_address: bool) -> int:
        """The address of a C function of so many words."""
        if self.world.machine.cpu.name not in CALLED:
            return self.world.machine.function(function, count)
        caller = self.world.caller
        model = caller.rules.model
        result = model.pointer if is_address else model.integer(4, signed=True)
        return caller.callback(caller.signature(result, [model.pointer] * count), function)

    def keep(self, text: bytes) -> int:
        """A string that stays."""
        at = self._kept.get(text)
        if at is None:
            at = self._kept[text] = self.world.lend(text + b"\0")
        return at

    def forget(self, modules: list[Module]) -> None:
        """They are not loaded any more."""

    # -- <dlfcn.h> ----------------------------------------------------------------------------------------

    def _module(self, handle: int) -> Module:
        for module in self.world.ns.modules:
            if handle_of(module) == handle:
                return module
        raise DlError(f"invalid handle {handle:#x}")

    def _guarded(self, step: Callable[[], int], failed: int = 0) -> int:
        try:
            return step()
        except RtldError as error:
            self._error = str(error).encode(errors="surrogateescape")
            return failed

    def dlopen(self, name: int, flags: int) -> int:
        """A handle is the load bias here."""

        def step() -> int:
            world = self.world
            text = os.fsdecode(world.read_string(name)) if name else ""
            asker = self.asker()
            module = world.open(text, flags & 0xFFFFFFFF, asker) if text else world.ns.main
            return handle_of(module)

        return self._guarded(step)

    def dlsym(self, handle: int, name: int) -> int:
        """RTLD_DEFAULT and RTLD_NEXT are answered as for the first library: who asks is not known here."""
        return self._guarded(lambda: self._symbol(handle, name, None))

    def dlvsym(self, handle: int, name: int, version: int) -> int:
        return self._guarded(lambda: self._symbol(handle, name, self.world.read_string(version)))

    def _symbol(self, handle: int, name: int, version: bytes | None) -> int:
        world = self.world
        text = world.read_string(name)
        last = (1 << 8 * world.word) - 1
        asker = self.asker() or world.ns.main

        def find() -> tuple[Module, int] | None:
            if handle == RTLD_DEFAULT:
                scope = list(default_scope(world.ns, world.opened, asker))
                if world.bare:
                    scope += world.ns.modules  # what Python has opened has no global scope to be in
            elif handle == last:
                scope = next_scope(world.opened, asker)
            else:
                scope = world.scope(self._module(handle))
            return find_symbol(scope, text, version)

        found = find()
        if found is None:
            where = handle not in (RTLD_DEFAULT, last) and self._module(handle) is not world.ns.main
            prefix = f"{self._module(handle).path}: " if where else ""
            if not where and not world.bare:
                prefix = f"{asker.path}: "
            wanted = f", version {os.fsdecode(version)}" if version else ""
            raise DlError(f"{prefix}undefined symbol: {os.fsdecode(text)}{wanted}")
        return world.value(*found)

    def dlclose(self, handle: int) -> int:
        def step() -> int:
            self.world.close_library(self._module(handle))
            return 0

        return self._guarded(step, -1)

    def dlerror(self) -> int:
        error, self._error = self._error, None
        return self.keep(error) if error is not None else 0

    def dladdr(self, address: int, info: int) -> int:
        """Dl_info: dli_fname, dli_fbase, dli_sname, dli_saddr."""
        module = self.containing(address)
        if module is None:
            return 0
        index = dynsym(module.file).nearest(address - module.base)
        name = value = 0
        if index:
            name = self.keep(dynsym(module.file).name(index))
            value = module.base + dynsym(module.file).symbol(index).value
        world = self.world
        low, _ = module.file.span
        words = (self.keep(os.fsencode(module.path)), module.base + low, name, value)
        world.machine.write(info, world.pack(*words))
        return 1

    def asker(self) -> Module | None:
        """Who has called the function of ours that runs: whose code its return address is."""
        machine = self.world.machine
        cpu = machine.cpu
        back = (
            machine.engine.get(cpu.link) if cpu.link else machine.word(machine.engine.get(cpu.sp))
        )
        found = self.containing(back)
        return None if found is None or found.hosted else found

    # -- unwinders --------------------------------------------------------------------------------------

    def containing(self, address: int) -> Module | None:
        """The module that has the address in a segment."""
        for module in self.world.ns.modules:
            at = address - module.base
            if any(load.vaddr <= at < load.vaddr + load.memsz for load in module.file.loads):
                return module
        return None

    def _headers(self, module: Module) -> int:
        file = module.file
        for load in file.loads:
            if load.offset <= file.phoff < load.offset + load.filesz:
                return int(module.base + file.phoff - load.offset + load.vaddr)
        return 0

    def iterate(self, callback: int, data: int) -> int:
        """struct dl_phdr_info: addr, name, phdr, phnum (16 bits), adds, subs (64 bits), tls_modid, tls_data."""
        world = self.world
        word = world.word
        order: Literal = "little" if world.order == "<" else "big"
        size = 8 * word if word == 8 else 40
        for module in list(world.ns.modules):
            head = world.pack(module.base, self.keep(self._shown(module)), self._headers(module))
            head += module.file.phnum.to_bytes(2, order)
            head = head.ljust(4 * word, b"\0")
            head += len(world.ns.modules).to_bytes(8, order) + bytes(8)
            tls = world.thread_pointer() + module.tls_offset if module.tls_offset else 0
            head += world.pack(module.tls_id, tls)
            info = self._scratch(head.ljust(size, b"\0"))
            result = world.call(callback, info, len(head), data) & 0xFFFFFFFF
            if result:
                return result
        return 0

    def _shown(self, module: Module) -> bytes:
        """l_name: glibc has none for the program."""
        world = self.world
        unnamed = module is world.ns.main and not world.bare and world.ns.model == "glibc"
        return b"" if unnamed else os.fsencode(module.path)

    def dlinfo(self, handle: int, request: int, result: int) -> int:
        """RTLD_DI_ORIGIN; other questions are about records that are not there."""

        def step() -> int:
            module = self._module(handle)
            if request & 0xFFFFFFFF != RTLD_DI_ORIGIN:
                raise DlError(f"unsupported dlinfo request {request & 0xFFFFFFFF}")
            self.world.machine.write(result, os.path.dirname(os.fsencode(module.path)) + b"\0")
            return 0

        return self._guarded(step, -1)

    def dlmopen(self, space: int, name: int, flags: int) -> int:
        """LM_ID_BASE; there is no other namespace."""

        def refuse() -> int:
            raise DlError("no more namespaces available for dlmopen()")

        return self.dlopen(name, flags) if space == 0 else self._guarded(refuse)

    def _scratch(self, data: bytes) -> int:
        at = self._kept.get(b"\0scratch")
        if at is None:
            at = self._kept[b"\0scratch"] = self.world.lend(bytes(256))
        self.world.machine.write(at, data)
        return at

    def find_object(self, pc: int, result: int) -> int:
        """struct dl_find_object: flags (64 bits), map_start, map_end, link_map, eh_frame (glibc 2.35, bits/dl_find_object.h)."""
        module = self.containing(pc)
        frame = module.file.segment(t.PT_GNU_EH_FRAME) if module is not None else None
        if module is None or frame is None:
            return -1
        world = self.world
        low, high = module.file.span
        words = [module.base + low, module.base + high, 0, module.base + frame.vaddr]
        if world.arch.name == "i386":
            # DLFO_STRUCT_HAS_EH_DBASE: what DW_EH_PE_datarel counts from is the global offset table.
            words.append(module.base + (module.file.dynamic.get(t.DT_PLTGOT) or 0))
        world.machine.write(result, bytes(8) + world.pack(*words))
        return 0

    def find_exidx(self, pc: int, count: int) -> int:
        """ARM: the table of a module, and how many entries it has (EHABI, 6.2)."""
        module = self.containing(pc)
        table = module.file.segment(_PT_ARM_EXIDX) if module is not None else None
        if module is None or table is None:
            return 0
        self.world.machine.write(count, (table.memsz // _EXIDX_ENTRY).to_bytes(4, "little"))
        return int(module.base + table.vaddr)


def handle_of(module: Module) -> int:
    """What dlopen returns: the load bias, or where a program that has none begins."""
    return int(module.base or module.file.span[0])


RTLD_DI_ORIGIN = 6  # <dlfcn.h>
_PT_ARM_EXIDX = 0x70000001
if TYPE_CHECKING:
    from typing import Any as Literal

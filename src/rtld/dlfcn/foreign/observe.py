"""What a library of another CPU does: functions that run, memory that is touched, calls as they are made."""

from __future__ import annotations

import os

from rtld.elf import types as t
from rtld.process.observed import Access, Block, count_functions, place_in, watch_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from rtld.backends.emulated.blockcount import BlockCount
    from rtld.core.module import Module
    from rtld.dlfcn.foreign.function import ForeignFunction
    from rtld.dlfcn.foreign.namespace import ForeignNamespace


class Coverage:
    """While it is there, functions that run are counted."""

    def __init__(self, namespace: ForeignNamespace) -> None:
        self._namespace = namespace
        self._modules: list[tuple[Module, list[tuple[int, int]]]] = []
        self._count: BlockCount | None = None
        self._seen: dict[Module, list[Block]] = {}

    def __enter__(self) -> Self:
        machine = self._namespace.world.machine
        self._count = machine.engine.count_blocks(machine.memory.size)
        for module in self._namespace.modules:
            code = [load for load in module.file.loads if load.flags & t.PF_X]
            ranges = [(module.base + s.vaddr, module.base + s.vaddr + s.memsz) for s in code]
            for low, high in ranges:
                self._count.add(low, high - 1)
            self._modules.append((module, ranges))
        return self

    def __exit__(self, *_: object) -> None:
        self._collect()
        assert self._count is not None
        self._count.remove()
        self._count = None

    def _collect(self) -> None:
        """What has been counted so far."""
        if self._count is not None:
            for module, ranges in self._modules:
                found = [each for low, high in ranges for each in self._count.blocks(low, high)]
                self._seen[module] = list(map(Block._make, found))

    @property
    def blocks(self) -> dict[int, int]:
        """Address of a block of code -> how often it has run."""
        self._collect()
        return {block.address: block.runs for blocks in self._seen.values() for block in blocks}

    @property
    def functions(self) -> dict[str, dict[str, int]]:
        """Library -> function -> how often it was entered; 0: its code ran, but not from its beginning."""
        self._collect()
        found: dict[str, dict[str, int]] = {}
        for module, blocks in self._seen.items():
            if blocks:
                functions = found.setdefault(os.path.basename(module.path), {})
                count_functions(blocks, module.base, module.file, functions)
        return found


class MemoryWatch:
    """While it is there, accesses are noted."""

    def __init__(self, namespace: ForeignNamespace, address: int, size: int) -> None:
        self._namespace = namespace
        self._low, self._high = address, address + max(size, 1)
        self._handle: object = None

    def __enter__(self) -> list[Access]:
        accesses: list[Access] = []
        machine = self._namespace.world.machine
        self._handle = watch_memory(machine, self._low, self._high, self._place, accesses.append)
        return accesses

    def __exit__(self, *_: object) -> None:
        self._namespace.world.machine.engine.remove(self._handle)

    def _place(self, pc: int) -> str:
        module = self._namespace.world.services.containing(pc)
        if module is None:
            return hex(pc)
        return place_in(module.path, module.file, pc - module.base)


def on_call(
    namespace: ForeignNamespace, function: ForeignFunction, handler: Callable[..., Any]
) -> Callable[[], None]:
    """Tell *handler* the arguments of each call, as far as ``argtypes`` declares them."""
    guest, world = namespace.guest, namespace.world
    converter = guest.converter
    kinds = list(function.argtypes or ())
    types = [converter.argument_type(kind) for kind in kinds]
    fixed = len(kinds) if function.variadic else None
    signature = guest.signature(converter.types.of(function.restype), types, fixed)
    results = [converter.result(kind) for kind in kinds]
    start = function.address & (-2 if world.arch.name == "arm" else -1)

    def entered(address: int) -> None:
        if address == start:
            raws = world.caller.arguments(signature)
            handler(*[result(raw) for result, raw in zip(results, raws, strict=True)])

    handle = world.machine.engine.on_block(start, start, entered)
    return lambda: world.machine.engine.remove(handle)

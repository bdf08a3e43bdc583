"""What a library of another CPU does: functions that run, memory that is touched, calls as they are made."""

from __future__ import annotations

import os
from typing import NamedTuple

from rtld.elf import types as t
from rtld.elf.scalar import dynsym

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from rtld.core.module import Module
    from rtld.dlfcn.foreign.function import ForeignFunction
    from rtld.dlfcn.foreign.namespace import ForeignNamespace


_WIDEST = 63  # bytes of an access that are behind its first


class Access(NamedTuple):
    """One access: "read" or "write", address, bytes, the value that is written (0 for a read), and where the code is."""

    what: str
    address: int
    size: int
    value: int
    place: str


class Coverage:
    """While it is there, functions that run are counted."""

    def __init__(self, namespace: ForeignNamespace) -> None:
        self._namespace = namespace
        self._blocks: dict[int, int] = {}
        self._handles: list[object] = []

    def __enter__(self) -> Self:
        blocks = self._blocks

        def ran(address: int) -> None:
            blocks[address] = blocks.get(address, 0) + 1

        engine = self._namespace.world.machine.engine
        for module in self._namespace.modules:
            for load in module.file.loads:
                if load.flags & t.PF_X:
                    low = module.base + load.vaddr
                    self._handles.append(engine.on_block(low, low + load.memsz - 1, ran))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            self._namespace.world.machine.engine.remove(handle)
        self._handles.clear()

    @property
    def blocks(self) -> dict[int, int]:
        """Address of a block of code -> how often it has run."""
        return dict(self._blocks)

    @property
    def functions(self) -> dict[str, dict[str, int]]:
        """Library -> function -> how often it was entered; 0: its code ran, but not from its beginning."""
        found: dict[str, dict[str, int]] = {}
        for address, count in sorted(self._blocks.items()):
            module = self._namespace.world.services.containing(address)
            if module is None:
                continue
            name, offset = nearest(module, address)
            if name:
                functions = found.setdefault(os.path.basename(module.path), {})
                functions[name] = functions.get(name, 0) + (count if offset == 0 else 0)
        return found


class MemoryWatch:
    """While it is there, accesses are noted."""

    def __init__(self, namespace: ForeignNamespace, address: int, size: int) -> None:
        self._namespace = namespace
        self._low, self._high = address, address + max(size, 1)
        self._handle: object = None

    def __enter__(self) -> list[Access]:
        machine = self._namespace.world.machine
        accesses: list[Access] = []
        low, high = self._low, self._high

        def touched(write: bool, address: int, size: int, value: int) -> None:
            if address >= high or address + size <= low:
                return
            pc = machine.engine.get(machine.cpu.pc)
            mask = (1 << 8 * size) - 1
            kind = "write" if write else "read"
            accesses.append(
                Access(kind, address, size, value & mask if write else 0, self._place(pc))
            )

        # The engine looks at where an access begins.
        self._handle = machine.engine.on_access(low - _WIDEST, high - 1, touched)
        return accesses

    def __exit__(self, *_: object) -> None:
        self._namespace.world.machine.engine.remove(self._handle)

    def _place(self, pc: int) -> str:
        module = self._namespace.world.services.containing(pc)
        if module is None:
            return hex(pc)
        name, offset = nearest(module, pc)
        where = f"{name}+{offset:#x}" if name else f"{pc - module.base:#x}"
        return f"{os.path.basename(module.path)}: {where}"


def nearest(module: Module, address: int) -> tuple[str, int]:
    """The function an address is in, and how far; ("", 0) in none that has a name."""
    table = dynsym(module.file)
    arm = module.file.machine == t.EM_ARM
    # Bit 0 of a symbol says Thumb, and counts in its value.
    index = table.nearest(address - module.base | arm)
    if not index:
        return "", 0
    start = table.symbol(index).value & (-2 if arm else -1)
    return os.fsdecode(table.name(index)), address - module.base - start


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

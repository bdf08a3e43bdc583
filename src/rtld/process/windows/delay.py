"""Delay imports bound by us at their first call, instead of by the helper that was linked into the image.

Every slot of the delay IAT gets an address of ours. Who calls it makes us load the DLL and look the function up; the slot is
filled, the module handle stored as the helper would, and the call goes on with its arguments as they were.
"""

from __future__ import annotations

from rtld.backends.windows.api import TRAP, Api, Jump
from rtld.errors import TargetFault, Unsupported
from rtld.pe.faults import explained
from rtld.pe.imports import Descriptor, delay_imports
from rtld.pe.load import symbol_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System
    from rtld.pe.module import PeModule
    from rtld.process.windows.loader import Loader


def set_traps(loader: Loader, module: PeModule) -> None:
    """Lead every delay import of a module, whose image is not placed yet, to us."""
    columns = delay_imports(module.file)
    if not len(columns):
        return
    if not hasattr(loader.machine, "engine"):
        raise Unsupported("delay imports are bound at their first call on emulated CPUs only")
    word = module.file.bits // 8
    for row, owner in enumerate(columns.descriptor.tolist()):
        descriptor = columns.descriptors[owner]
        name = symbol_text(columns, row)
        slot = columns.slot.item(row)
        api = Api(descriptor.dll, name, TRAP, "p", "stdcall", _action(loader, module, descriptor, name, slot))  # fmt: skip
        address = loader.machine.new_slot(api)
        module.image[slot : slot + word] = memoryview(address.to_bytes(word, "little"))


def _action(loader: Loader, module: PeModule, descriptor: Descriptor, name: str, slot: int) -> Any:
    def first_call(system: System) -> Generator[Any, Any, Any]:
        place = module.base + descriptor.delay.handle if descriptor.delay.handle else 0
        # One reference for the DLL, not one for each function: unloading gives one back.
        target, error = loader.by_handle(system.number(place)) if place else None, 0
        if target is None:
            target, error = yield from loader.load_library(descriptor.dll)
        if target is None:
            raise TargetFault(f"{module.path}: delay import of {descriptor.dll}: error {explained(error)}: {loader.reason()}")  # fmt: skip
        wanted = int(name[1:]) if name.startswith("#") else name.encode("utf-8", "surrogateescape")
        address, error = yield from loader.proc_address(target.base, wanted)
        if not address:
            raise TargetFault(f"{module.path}: delay import {name} of {descriptor.dll}: error {explained(error)}")  # fmt: skip
        system.put(module.base + slot, address)
        if place:
            system.put(place, target.base)
        if loader.trace is not None:
            loader.trace.bound(name, descriptor.dll, address)
        return Jump(address)

    return first_call

"""Closing libraries in this process, and the functions that are called at both ends of their lives.

glibc's rules of who goes are in ``elf/dlopen.py`` (unreachable), in which order in ``elf/fini.py``.
"""

from __future__ import annotations

import os
import struct

from rtld.backends import inprocess as machine
from rtld.elf import types as t
from rtld.elf.dlopen import DlError, remove, unreachable
from rtld.process.inprocess.quiet import Quiet
from rtld.process.inprocess.space import Space, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.core.module import Module
    from rtld.elf.file import ElfFile


def close_file(file: ElfFile) -> None:
    """Drop the file's bytes, unless somebody still looks at them."""
    try:
        file.close()
    except BufferError:
        pass


def initialise(space: Space, modules: Sequence[Module]) -> None:
    """DT_INIT, then DT_INIT_ARRAY, of each."""
    arguments = space.process.arguments
    for module in modules:
        space.ns.reporter.init(module)
        for function in init_functions(module):
            machine.call(function, *arguments)


def close_library(space: Space, module: Module) -> list[Module]:
    """dlclose; returns the modules that were unmapped."""
    counts = space.opened.counts
    if counts.get(module, 0) <= 0:
        raise DlError(f"{module.path}: shared object not open")
    counts[module] -= 1
    return collect(space, module if not counts[module] else None)


def collect(space: Space, closed: Module | None = None) -> list[Module]:
    """Finish and unmap what nothing keeps any more, now that *closed* has been closed."""
    process, opened = space.process, space.opened
    busy = {m for m in space.ns.modules if not m.hosted and space.pending(m)} - opened.pinned
    opened.pinned |= busy
    try:
        going = finishing_order(space, unreachable(space.ns, opened), closed)
        if going and space.hooks is not None:
            space.hooks.activity("delete")
        for module in going:
            space.ns.reporter.fini(module)
            if space.hooks is not None:
                space.hooks.objclose(module)
            for function in space.finis.pop(module, ()):
                machine.call(function)
        if going:
            # Who was opened again by a termination function stays.
            wanted = set(going)
            going = [m for m in unreachable(space.ns, opened) if m in wanted]
    finally:
        space.opened.pinned -= busy
    if going:
        with Quiet(space):
            unload(space, going)
            process.publish()
        if space.hooks is not None:
            space.hooks.activity("consistent")
    return going


def close_namespace(space: Space) -> None:
    """Unload everything, also what would never go by itself; what has destructors to run stays until they have run."""
    opened = space.opened
    opened.counts.clear()
    opened.pinned.clear()
    opened.startup = [module for module in opened.startup if module.hosted]
    collect(space)
    space.transient = True
    retire_namespace(space)


def retire_namespace(space: Space) -> None:
    """Forget a namespace that nobody can ask for any more, once it has no library; its number is free again."""
    process = space.process
    if space.transient and space in process.spaces and all(m.hosted for m in space.ns.modules):
        process.drop_records(space, space.ns.modules)
        process.spaces.remove(space)


def finishing_order(
    space: Space, modules: Sequence[Module], closed: Module | None = None
) -> list[Module]:
    """Dependents first, as glibc sorts everything that is loaded; since 2.39 what was closed goes before all (bug 30981)."""
    wanted = set(modules)
    own = [module for module in space.ns.modules if not module.hosted]
    first = closed is not None and closed in own and machine.LIBC_VERSION >= (2, 39)
    if first and closed is not None:
        own.remove(closed)
        own.insert(0, closed)
    order = space.order.sort(own, force_first=first, for_fini=True)
    return [module for module in order if module in wanted]


def unload(space: Space, modules: Sequence[Module]) -> None:
    """Take modules out of every table, then out of memory."""
    remove(space.ns, space.opened, modules)
    space.order.forget(modules)
    space.opened.pinned -= set(modules)
    ranges = [span(module) for module in modules]
    space.process.drop_records(space, modules)
    space.process.publish()
    for module, (start, end) in zip(modules, ranges, strict=True):
        machine.unmap(start, end - start)
        donor = space.donors.pop(module, None)
        if donor is not None:
            machine.host_close(donor.handle)
        for table in (space.descriptors, space.lazy, space.reasons, space.finis, space.deferred):
            table.pop(module, None)
        for resolver in [r for r in space.ifuncs if start <= r < end]:
            del space.ifuncs[resolver]
        thunk = space.thunks.pop(module, None)
        if thunk is not None:
            machine.unmap(*thunk)
        fd = space.descriptors_of_files.pop(module, -1)
        if fd >= 0:
            os.close(fd)
        if space.plan:
            space.plan.blocks.pop(module, None)
        if module.late is None or not module.late.close():
            close_file(module.file)


def _array(module: Module, tag: int, size_tag: int) -> tuple[int, ...]:
    dynamic = module.file.dynamic
    address, size = dynamic.get(tag), (dynamic.get(size_tag) or 0) // 8
    if address is None or not size:
        return ()
    for s in module.file.loads:
        if s.vaddr <= address and address + 8 * size <= s.vaddr + s.memsz:
            break
    else:
        raise module.file.fail(
            "dynamic section", "function array", f"{address:#x}+{8 * size:#x}", "inside a PT_LOAD"
        )
    return struct.unpack(f"<{size}Q", machine.read(module.base + address, 8 * size))


def init_functions(module: Module) -> list[int]:
    """DT_INIT, then DT_INIT_ARRAY."""
    first = module.file.dynamic.get(t.DT_INIT)
    functions = _array(module, t.DT_INIT_ARRAY, t.DT_INIT_ARRAYSZ)
    return [module.base + first, *functions] if first else [*functions]


def fini_functions(module: Module) -> list[int]:
    """DT_FINI_ARRAY backwards, then DT_FINI."""
    last = module.file.dynamic.get(t.DT_FINI)
    functions = _array(module, t.DT_FINI_ARRAY, t.DT_FINI_ARRAYSZ)[::-1]
    return [*functions, module.base + last] if last else [*functions]

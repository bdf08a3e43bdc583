"""Opening and closing libraries in a guest: found and bound as ever, relocated here, put into the guest's memory."""

from __future__ import annotations

import struct

import numpy as np

from rtld.core.module import Module
from rtld.elf import types as t
from rtld.elf.dlopen import (
    RTLD_GLOBAL,
    RTLD_NOLOAD,
    DlError,
    bind_group,
    copy_namespace,
    initialisers,
    make_global,
    note_group,
    open_group,
    remove,
    unreachable,
)
from rtld.elf.flat import flat
from rtld.elf.images import build_images, relocate_relative
from rtld.elf.initfini import init_first
from rtld.elf.load import binds_now, is_libc_family
from rtld.elf.relocate import relocate_symbolic
from rtld.elf.scalar import dynsym
from rtld.elf.tls import tls_segment
from rtld.errors import FormatError, NoSpace, NotFound, UnresolvedSymbol, VersionMismatch
from rtld.process.foreign.start import map_segments, protect_segments
from rtld.process.mapping import PAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rtld.core.module import Namespace
    from rtld.elf.dlopen import Group
    from rtld.process.foreign.world import World

_FIND_FDE = b"_Unwind_Find_FDE"


def open_library(
    world: World, name: str, flags: int, requester: Module | None, root: Module | None = None
) -> Module:
    """dlopen in the guest."""
    opening = Opening(world, flags, root)
    try:
        try:
            found, order = opening.run(name, requester or world.ns.main)
        except UnresolvedSymbol:
            if not opening.ns.postponed:
                raise
            # A variable of something it needs: that cannot wait.
            opening.undo()
            opening = Opening(world, flags, root, leave_out=False)
            found, order = opening.run(name, requester or world.ns.main)
    except BaseException:
        opening.undo()
        raise
    if world.audit is not None and opening.own:
        _tell_hooks(world, found, opening.own)
    if world.machine.debugger is not None:
        world.machine.debugger.linked()
    for module in order:
        world.ns.reporter.init(module)
        world.constructed.append(module)
        for function in init_functions(world, module):
            world.call(function, *world.arguments)
    return found


def _tell_hooks(world: World, root: Module, modules: Sequence[Module]) -> None:
    """``objopen`` for each new module; what is raised there takes all back."""
    assert world.audit is not None
    hooks = world.audit.hooks
    try:
        for module in modules:
            hooks.objopen(module)
        hooks.activity("consistent")
    except BaseException:
        # They have not been initialised, so there is nothing to finish.
        for module in modules:
            world.finis.pop(module, None)
        world.opened.counts[root] -= 1
        going = unreachable(world.ns, world.opened)
        if going:
            _unload(world, going)
        raise


class Opening:
    """One ``open``. Nothing of it is visible before its end, and ``undo`` takes everything back."""

    def __init__(
        self, world: World, flags: int, root: Module | None = None, *, leave_out: bool = True
    ) -> None:
        self.world = world
        self.flags = flags
        self.lazy = world.leaves_slots(flags)
        self._leave_out = self.lazy and leave_out
        self.ns: Namespace = self._copy()
        self.own: list[Module] = []
        self._root = root
        self.group: Group | None = None
        self._reserved: list[tuple[int, int]] = []
        self._tls: list[tuple[int, int]] = []  # (start, end) of blocks in the anchor's
        self._known_files = set(world.ns.search._files)

    def _copy(self) -> Namespace:
        """A namespace to try it in."""
        ns = copy_namespace(self.world.ns)
        ns.postponed = {}
        ns.leaves_out = self.world.leaves_out if self._leave_out else None
        return ns

    def run(self, name: str, requester: Module) -> tuple[Module, list[Module]]:
        """The module, and those whose initialisers are to run."""
        world = self.world
        group = self.group = self._find(name, requester)
        ns = self.ns
        if not ns.global_scope.modules:
            make_global(ns, group.order)  # the first of a namespace
        if group.new:
            audit = world.audit if self.own else None
            if audit is not None:
                audit.hooks.activity("add")
            self._place()
            self._relocate()
            self._commit()
            if audit is not None:
                waits = self.lazy
                audit.bound(
                    self.own, audit.bindings(ns), later=lambda m: waits and not binds_now(m)
                )
        if self.flags & RTLD_GLOBAL:
            make_global(ns, group.order)
        opened = world.opened.copy()
        if self.own:
            note_group(ns, opened, group)
            _unpin(opened, self.own)
        else:
            opened.lists.setdefault(group.root, group.order)
        opened.counts[group.root] = opened.counts.get(group.root, 0) + 1
        order = self._order()
        ns.columns = ns.relocations = ns.bindings = ns.arena = None
        ns.lazy = False
        for module in self.own:
            module.image = None
        if ns.postponed:
            world.postponed.update(ns.postponed)
        world.ns, world.opened = ns, opened
        world.tls_used = max([world.tls_used, *[end for _, end in self._tls]])
        world.home.update(dict.fromkeys(self.own, world.current))
        for module in order:
            world.finis[module] = fini_functions(world, module)
        return group.root, order

    # -- finding ----------------------------------------------------------------------------------------

    def _find(self, name: str, requester: Module) -> Group:
        """The group; members of the C library's family come from the guest's own ld.so."""
        for _ in range(20):
            ns = self.ns
            known = set(ns.modules)
            if self._root is not None:
                self._check(self._root)
                # A module for each attempt: one that has been added knows what it needs.
                root = ns.by_name[name] = Module(self._root.file, self._root.path, -1)
                root.soname = self._root.soname
            try:
                group = open_group(ns, name, requester, noload=bool(self.flags & RTLD_NOLOAD))
            except DlError as error:
                raise _spoken(self._typed(error), error.text) from None
            if group is None:
                absent = NotFound(name, None, (), "it is not loaded, and RTLD_NOLOAD was asked for")
                absent.absent = True  # type: ignore[attr-defined]
                raise absent
            family = [
                m
                for m in group.new
                if self.world.adopts and is_libc_family(m.soname or m.path) and not m.hosted
            ]
            if not family:
                self.own = group.new
                return group
            # Once ld.so has it, the search is done again, and meets it as one that is there.
            for module in ns.modules:
                if module not in known and module.file.identity is not None:
                    self.world.ns.search._files.pop(module.file.identity, None)
            self.world.adopt(family[0].path)
            if not self.world.ns.modules[-1].hosted:
                break
            self.ns = self._copy()
        raise NotFound(name, None, (), "the guest's dynamic linker does not load what it needs")

    def _check(self, root: Module) -> None:
        """A file that no search has looked at: is it for this CPU?"""
        file, arch = root.file, self.world.arch
        if (file.machine, file.bits, file.order) != (arch.machine, arch.bits, self.world.order):
            raise file.fail("ELF header", "e_machine", file.machine, f"{arch.machine}, {arch.name}")

    def _typed(self, error: DlError) -> Exception:
        """The exception with fields for a sentence of glibc's."""
        if isinstance(error.__context__, NotFound | FormatError):
            return error.__context__
        for problem in self.ns.problems:
            if problem.message != error.text:
                continue
            if problem.kind == "library":
                found: Exception = next(iter(self.ns.missing[problem.subject]))[1]
                return found
            if problem.kind == "version":
                return VersionMismatch(problem.subject, problem.version or "", problem.module)
        return error

    # -- placing ----------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Addresses, and thread-local storage in the anchor's block."""
        world, machine = self.world, self.world.machine
        first = world.tls_first
        for module in self.own:
            low, high = module.file.span
            size = high - low + PAGE - 1 & -PAGE
            if not size:
                raise module.file.fail("program headers", "PT_LOAD", "none", "at least one")
            start = machine.memory.reserve(size, module.file.max_align, high=True)
            self._reserved.append((start, size))
            module.base = start - low
            block = tls_segment(module)
            if block is None:
                continue
            memsz, align, lead = block
            at = self._place_block(module, memsz, align, lead)
            module.tls_id, module.tls_block, module.tls_offset = 1, at, first + at

    def _place_block(self, module: Module, size: int, align: int, lead: int) -> int:
        """The first place in the anchor's block where no library is that is still open. NoSpace."""
        world = self.world
        at = world.tls_started
        taken = self._tls + [
            (m.tls_block, m.tls_block + segment[0])
            for m in world.every_module()
            if not m.hosted and (segment := tls_segment(m)) is not None
        ]
        for start, end in sorted(taken):
            if at + -(at + world.tls_first - lead) % align + size <= start:
                break
            at = max(at, end)
        at += -(at + world.tls_first - lead) % align
        if at + size > world.anchor.tls_size:
            error = NoSpace(
                f"{module.path}: {size:#x} bytes of thread-local storage: libraries that are opened have "
                f"{world.anchor.tls_size - world.tls_started:#x} together"
            )
            error.advice = "the environment variable GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536 gives a program more"
            raise error
        self._tls.append((at, at + size))
        return at

    # -- relocating ---------------------------------------------------------------------------------------

    def _relocate(self) -> None:
        """Bind, and fill in the images."""
        from rtld.elf.lookup import Columns

        ns, world = self.ns, self.world
        assert self.group is not None
        new = set(self.group.new)
        ns.columns = Columns([m for m in ns.modules if m not in new])
        ns.ifuncs, ns.copies, ns.descriptors, ns.counts = [], [], [], {}
        try:
            bind_group(ns, self.group, self.flags)
        except DlError as error:
            raise _spoken(self._typed(error), error.text) from None
        self._refuse_undefined()
        ns.lazy = self.lazy
        if ns.reporter.wants & {"symbols", "bindings"}:
            from rtld.elf.explain import tell_bindings

            tell_bindings(ns, ns.reporter)
        build_images(ns, self.own)
        relocate_relative(ns, self.own)
        if len(ns.relocations.at):
            relocate_symbolic(ns, self.own, ns.relocations, ns.bindings)
            self._override()
            self._prefer_own()
            self._adjust_tls()
            if self.lazy:
                world.open_slots(ns)
        for row in ns.descriptors:
            words = world.descriptor(row.offset, row.addend)
            values = [words[part] for part in world.arch.tls.descriptor]
            _store(world, row.module, row.place - row.module.base, *values)

    def _refuse_undefined(self) -> None:
        """A symbol that nobody has; a function's slot may wait for somebody who does."""
        ns = self.ns
        own = {module.path for module in self.own}
        problems = [p for p in ns.problems if p.kind == "symbol" and p.module in own]
        if problems and self.lazy:
            from rtld.process.emulated.lazyload import undefined_at_once

            b = ns.bindings
            wanted = {(m.path, b.name(row)) for m, row in undefined_at_once(ns, now=False)}
            problems = [p for p in problems if (p.module, p.subject) in wanted]
        if problems:
            first = problems[0]
            error = UnresolvedSymbol(first.module, first.subject, first.version)
            raise _spoken(error, first.message)

    def _rows(self, which: Any) -> list[tuple[int, Module, int]]:
        """(row, module, r_offset) of the chosen relocation records."""
        r, columns = self.ns.relocations, self.ns.columns
        chosen = np.flatnonzero(which)
        offsets = flat(f"{columns.order}u{self.world.word}")[r.at[chosen]]
        return [
            (row, columns.modules[number], int(offset))
            for row, number, offset in zip(
                chosen.tolist(), r.module[chosen].tolist(), offsets.tolist(), strict=True
            )
        ]

    def _override(self) -> None:
        """Lead references to what is ours to answer (dlopen, ...) to Python."""
        ns, world = self.ns, self.world
        r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
        if not ns.overrides or not len(b):
            return
        numbers = {module: i for i, module in enumerate(ns.columns.modules)}
        replaced = np.zeros(len(b), np.uint64)
        for (module, symbol), address in ns.overrides.items():
            if module in numbers:
                replaced[(b.definer == numbers[module]) & (b.definition == symbol)] = address
        rows = (r.reference >= 0) & (replaced[r.reference] != 0)
        rows &= np.isin(r.type, [types.glob_dat, types.jump_slot, types.symbolic])
        for row, module, offset in self._rows(rows):
            if not module.hosted:
                _store(world, module, offset, int(replaced[r.reference[row]]))

    def _prefer_own(self) -> None:
        """libgcc_s finds tables for unwinding itself: old CPUs' libc has that function, too, and knows only what ld.so has loaded."""
        ns, world = self.ns, self.world
        r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
        for module in self.own:
            table = dynsym(module.file)
            for index in table.named(_FIND_FDE):
                symbol = table.symbol(index)
                if symbol.section == t.SHN_UNDEF or not len(b):
                    continue
                number = ns.columns.modules.index(module)
                rows = (r.module == number) & (r.reference >= 0) & (b.symbol[r.reference] == index)
                rows &= np.isin(r.type, [types.glob_dat, types.jump_slot])
                for _row, owner, offset in self._rows(rows):
                    _store(world, owner, offset, module.base + symbol.value)

    def _adjust_tls(self) -> None:
        """All modules share one TLS module, the anchor's: offsets are counted from its block's start."""
        ns, world = self.ns, self.world
        r, b, types = ns.relocations, ns.bindings, ns.arch.reloc_types
        modules = ns.columns.modules
        blocks = [module.tls_block for module in modules]
        placed = set()
        if types.dtpoff is not None:
            for row, module, offset in self._rows(r.type == types.dtpoff):
                if module.hosted:
                    continue
                reference = int(r.reference[row])
                definer = int(b.definer[reference]) if reference >= 0 else int(r.module[row])
                placed.add((module, offset))
                if definer >= 0:
                    _add(world, module, offset, blocks[definer])
        if types.dtpmod is None:
            return
        own = np.array(blocks, np.int64)[r.module]
        for _row, module, offset in self._rows(
            (r.type == types.dtpmod) & (r.reference < 0) & (own != 0)
        ):
            # The offset beside it is a constant of the file, unless it has a record of its own.
            if not module.hosted and (module, offset + world.word) not in placed:
                _add(world, module, offset + world.word, module.tls_block)

    # -- committing -----------------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Into the guest's memory; then what only its code can tell; then the final rights."""
        world = self.world
        memory = world.machine.memory
        for module in self.own:
            map_segments(world, module.file, module.base)
            for load in module.image.segments:
                if load.memsz:
                    size = min(load.memsz, module.image.high - load.vaddr)
                    part = memoryview(module.image.view(load.vaddr, size)).cast("B")
                    memory.view(module.base + load.vaddr, size)[:] = part
            self._copy_tls(module)
        for module in self.own:
            protect_segments(world, module.file, module.base)
        for ifunc in self.ns.ifuncs:
            world.write_word(ifunc.place, world.resolve(ifunc.resolver) + ifunc.addend)
        for module in self.own:
            relro = module.file.segment(t.PT_GNU_RELRO)
            if relro is not None:
                start = module.base + relro.vaddr & -PAGE
                end = module.base + relro.vaddr + relro.memsz & -PAGE
                if start < end:
                    memory.protect(start, end - start, 1)

    def _copy_tls(self, module: Module) -> None:
        """The initial image into this thread's block, and into what new threads begin with."""
        segment = module.file.segment(t.PT_TLS)
        if segment is None or not segment.memsz:
            return
        world = self.world
        data = world.read(module.base + segment.vaddr, segment.filesz) + bytes(
            segment.memsz - segment.filesz
        )
        for pointer in world.thread_pointers():
            world.machine.write(pointer + module.tls_offset, data)
        world.machine.write(world.anchor.tls_image + module.tls_block, data)

    def _order(self) -> list[Module]:
        """Whose initialisers run, dependencies first."""
        assert self.group is not None
        group, memory = self.group, self.world.sequence
        for module in group.new:
            if module is not group.root:
                memory.lists[module] = [module, *module.needed]
        ordered = memory.opened(group.root, group.order)
        new = set(self.own)
        if self.ns.model == "musl":
            return initialisers(self.ns, group)
        return init_first([m for m in reversed(ordered) if m in new], self.own)

    def undo(self) -> None:
        """Nothing has happened."""
        memory = self.world.machine.memory
        for start, size in self._reserved:
            memory.unmap(start, size)
        for module in self.own:
            module.image = None
            self.world.finis.pop(module, None)
        search = self.world.ns.search
        for identity in search._files.keys() - self._known_files:
            if identity not in {m.file.identity for m in self.world.ns.modules}:
                search._files.pop(identity)


def _spoken(error: Exception, text: str) -> Exception:
    """With the sentence that dlerror(3) has for it."""
    error.dlerror = text  # type: ignore[attr-defined]
    return error


def _unpin(opened: Any, modules: Sequence[Module]) -> None:
    """Destructors of thread-local objects run in this thread, before a library goes."""
    for module in modules:
        if not module.file.dt_flags_1 & t.DF_1_NODELETE:
            opened.pinned.discard(module)


def _store(world: World, module: Module, vaddr: int, *values: int) -> None:
    """Words of a module's image."""
    image, data = module.image, world.pack(*values)
    if image is not None and image.low <= vaddr <= image.high - len(data):
        memoryview(image.view(vaddr, len(data)))[:] = data


def _add(world: World, module: Module, vaddr: int, value: int) -> None:
    image = module.image
    if image is not None and image.low <= vaddr <= image.high - world.word:
        order: Any = "little" if world.order == "<" else "big"
        before = int.from_bytes(image.view(vaddr, world.word).tobytes(), order)
        _store(world, module, vaddr, before + value)


# -- initialisers and termination functions ---------------------------------------------------------------


def _array(world: World, module: Module, tag: int, size_tag: int) -> list[int]:
    dynamic = module.file.dynamic
    word = world.word
    address, count = dynamic.get(tag), (dynamic.get(size_tag) or 0) // word
    if address is None or not count:
        return []
    if not any(
        s.vaddr <= address and address + word * count <= s.vaddr + s.memsz
        for s in module.file.loads
    ):
        raise module.file.fail(
            "dynamic section",
            "function array",
            f"{address:#x}+{word * count:#x}",
            "inside a PT_LOAD",
        )
    letter = "Q" if word == 8 else "I"
    data = world.read(module.base + address, word * count)
    return [
        function for function in struct.unpack(f"{world.order}{count}{letter}", data) if function
    ]


def init_functions(world: World, module: Module) -> list[int]:
    """DT_INIT, then DT_INIT_ARRAY."""
    first = module.file.dynamic.get(t.DT_INIT) if world.legacy_functions() else None
    functions = [module.base + first] if first else []
    return functions + _array(world, module, t.DT_INIT_ARRAY, t.DT_INIT_ARRAYSZ)


def fini_functions(world: World, module: Module) -> list[int]:
    """DT_FINI_ARRAY backwards, then DT_FINI."""
    last = module.file.dynamic.get(t.DT_FINI) if world.legacy_functions() else None
    functions = _array(world, module, t.DT_FINI_ARRAY, t.DT_FINI_ARRAYSZ)[::-1]
    return functions + ([module.base + last] if last else [])


def close_library(world: World, module: Module) -> list[Module]:
    """dlclose; the modules that were unmapped."""
    counts = world.opened.counts
    if counts.get(module, 0) <= 0:
        raise DlError(f"{module.path}: shared object not open")
    counts[module] -= 1
    going = _finishing(world, unreachable(world.ns, world.opened))
    _terminate(world, going)
    wanted = set(going)
    going = [m for m in unreachable(world.ns, world.opened) if m in wanted]
    if going:
        _unload(world, going)
        if world.audit is not None:
            world.audit.hooks.activity("consistent")
    return going


def finish(world: World) -> None:
    """The termination functions of everything that is left."""
    own = [module for module in world.ns.modules if not module.hosted]
    _terminate(world, world.sequence.sort(own, for_fini=True) if own else [])
    if own and world.audit is not None:
        world.audit.hooks.activity("consistent")


def _finishing(world: World, modules: Sequence[Module]) -> list[Module]:
    wanted = set(modules)
    own = [module for module in world.ns.modules if not module.hosted]
    return [m for m in world.sequence.sort(own, for_fini=True) if m in wanted] if own else []


def _terminate(world: World, modules: Sequence[Module]) -> None:
    hooks = world.audit.hooks if world.audit is not None and modules else None
    if hooks is not None:
        hooks.activity("delete")
    for module in modules:
        world.ns.reporter.fini(module)
        if hooks is not None:
            hooks.objclose(module)
        for function in world.finis.pop(module, ()):
            world.call(function)


def _unload(world: World, modules: Sequence[Module]) -> None:
    if world.audit is not None:
        world.audit.forget(modules)
    remove(world.ns, world.opened, modules)
    world.sequence.forget(modules)
    world.services.forget(list(modules))
    for module in modules:
        low, high = module.file.span
        start, end = (module.base + low) & -PAGE, (module.base + high + PAGE - 1) & -PAGE
        world.machine.memory.unmap(start, end - start)
        for resolver in [r for r in world.ifuncs if start <= r < end]:
            del world.ifuncs[resolver]

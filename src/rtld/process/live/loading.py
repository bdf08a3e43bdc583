"""Modules that a running process opens: found and bound as at the start, mapped and relocated by the thread that asks."""

from __future__ import annotations

import os
import sys

from rtld.backends.child.calls import NR
from rtld.backends.child.live_anchor import CALL
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.dlopen import (
    RTLD_DEEPBIND,
    RTLD_NODELETE,
    RTLD_NOW,
    DlError,
    bind_group,
    note_group,
    refuse_undefined,
    scope_of,
)
from rtld.elf.initfini import init_first, sort_dfs, sort_musl
from rtld.elf.load import is_symbolic
from rtld.elf.properties import first_too_new
from rtld.elf.small import GiveUp, bind_small_group
from rtld.elf.tls import tls_segment
from rtld.events import CALLS
from rtld.process.live.world import fini_functions, init_functions
from rtld.process.mapping import (
    MAP_ANONYMOUS,
    MAP_NORESERVE,
    MAP_PRIVATE,
    PAGE,
    add_mapping,
    add_relro,
    pieces,
    span,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rtld.backends.child.live_anchor import List
    from rtld.core.module import Module, Namespace
    from rtld.elf.dlopen import Group, Opened
    from rtld.elf.small import SmallLink
    from rtld.events import Scopes
    from rtld.process.live.dlservice import Service
    from rtld.process.live.world import World

    Steps = Generator[List, list[int], None]

_WORD = (1 << 64) - 1
_SMALL, _SMALL_AT_FIRST = (
    3000,
    60000,
)  # look-ups without numpy; as many take as long as importing it
_HEAP = 1 << 16  # what dlerror and the like may need between two calls of dlopen


class Loading:
    """One group on its way into a process. ``ns`` is a copy that replaces the world's when all has gone well."""

    def __init__(
        self, service: Service, ns: Namespace, group: Group, flags: int, opened: Opened, number: int
    ) -> None:
        self.service = service
        self.world: World = service.world
        self.ns = ns
        self.group = group
        self.flags = flags
        self.own = [module for module in group.new if not module.hosted]
        self.opened = opened
        self.number = number
        self.initialised: list[Module] = []
        self.ranges: dict[Module, tuple[int, int]] = {}  # where there is room: start, size
        self.small: SmallLink | None = None  # who has bound it, if not the column passes

    def steps(self) -> Steps:
        """Everything up to the initialisers."""
        ns, group, world, service = self.ns, self.group, self.world, self.service
        yield from self._make_room()
        try:
            yield from self._reserve()
            for module in group.new:
                ns.reporter.placed(module)
            ns.reporter.release()
            now = bool(self.flags & RTLD_NOW) or bool(ns.search.env.get("LD_BIND_NOW"))
            ns.lazy = world.lazy and not now
            self.service.change()
            self.records = world.add_records(group.new)
            ns.ifuncs, ns.copies, ns.descriptors = [], [], []
            self._check_isa()
            if not self._link_small():
                bind_group(ns, group, self.flags)
                self._tell()
                yield from self._warn(now=now)
                try:
                    refuse_undefined(ns, group, now=now)
                except DlError as error:
                    path, _, text = error.text.partition(": ")
                    for module in group.new:
                        if module.path == path:
                            ns.reporter.failed(module, text)
                    raise
                self._relocate()
                yield from self._lend_tls()
            yield from self._map()
            yield from self._resolve()
        except DlError:
            yield from self._give_back()
            # They had been loaded, and they are gone: dl_iterate_phdr tells how many ever were.
            world.adds += len(group.new)
            world.subs += len(group.new)
            service.memory.write(*world.counters())
            raise
        yield from self._commit()

    def _check_isa(self) -> None:
        """DlError for a library that this CPU cannot run."""
        if first_too_new(self.ns, self.own) is not None:
            order = sort_dfs(self.group.new, force_first=False)[::-1]
            module = first_too_new(self.ns, order) or order[0]
            raise DlError(f"{module.path}: CPU ISA level is lower than required")

    def _warn(self, *, now: bool) -> Steps:
        """What ld.so says while it relocates the group, as far as it gets."""
        from rtld.elf.notices import note, relocation_lines
        from rtld.process.live.lazy import write_lines

        ns, service = self.ns, self.service
        note(ns)
        lines, _failure = relocation_lines(ns, service.argv0, now=now)
        if lines:
            yield from write_lines(service, lines)

    def _make_room(self) -> Steps:
        """More memory for tables, before it runs out."""
        heap, count = self.world.heap, len(self.world.modules) + len(self.group.new)
        wanted = _HEAP + 2048 * count
        if self.world.lazy:
            wanted += sum(m.file.dynamic.get(t.DT_PLTRELSZ, 0) or 0 for m in self.group.new)
        if heap.room < wanted:
            calls = self.service.calls(1)
            flags = MAP_PRIVATE | MAP_ANONYMOUS
            calls.add(NR["mmap"], 0, page_up(2 * wanted), 3, flags, -1, 0)
            (address,) = yield calls
            if -4096 < address < 0:
                raise DlError(f"{self.group.root.path}: cannot allocate memory in the process")
            heap.extend(address, page_up(2 * wanted))

    def _reserve(self) -> Steps:
        """Addresses for our modules; members of the libc family are opened by ld.so."""
        service = self.service
        calls = service.calls(4 * len(self.group.new) + 2)
        wanted: list[tuple[Module, int]] = []
        sizes: dict[Module, int] = {}
        strings = bytearray()
        late = [module for module in self.group.new if module.hosted]
        at = service.scratch(sum(len(os.fsencode(m.path)) + 1 for m in late) + 8)
        for module in self.group.new:
            if module.hosted:
                index = calls.add(CALL, self.world.real["dlopen"], at + len(strings), RTLD_NOW)
                strings += os.fsencode(module.path) + b"\0"
            else:
                low, high = module.file.span
                size = page_up(high - low) + module.file.max_align - PAGE
                flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
                index = calls.add(NR["mmap"], 0, size, 0, flags, -1, 0)
                sizes[module] = size
            wanted.append((module, index))
        service.channel.put(at, bytes(strings))
        got = yield calls
        for module, index in wanted:
            value = got[index]
            if module.hosted:
                if value == 0:
                    raise DlError(f"{module.path}: cannot open shared object file")
                module.base = service.memory.read_word(value & _WORD)
                continue
            if -4096 < value < 0:
                raise DlError(f"{module.path}: failed to map segment from shared object")
            self.ranges[module] = value, sizes[module]
            low, _high = module.file.span
            module.base = (value + module.file.max_align - 1 & -module.file.max_align) - low
        self.world.replace_functions(self.ns, late)

    def _give_back(self) -> Steps:
        """Unmap what was reserved for a group that cannot be loaded."""
        calls = self.service.calls(len(self.own) + 1)
        for start, size in self.ranges.values():
            calls.add(NR["munmap"], start, size)
        yield calls

    def _link_small(self) -> bool:
        """Bind and relocate without numpy, where that is quicker; False if it is for the column passes."""
        ns, world = self.ns, self.world
        if ns.reporter.wants & CALLS | (ns.reporter.wants & {"scopes"}):
            return False
        most = _SMALL if "numpy" in sys.modules else _SMALL_AT_FIRST
        small = bind_small_group(ns, self.own, scope_of(ns, self.group, self.flags), most)
        if small is None:
            return False
        try:
            small.relocate(link_map=world.maps.__getitem__, binder=world.anchor.label("bind"))
        except GiveUp:
            ns.ifuncs, ns.copies = [], []
            return False
        ns.relocations = ns.bindings = None
        self.small = small
        return True

    def _tell(self) -> None:
        """Scopes and bindings, as ld.so tells them."""
        ns, group, reporter = self.ns, self.group, self.ns.reporter
        walks = tell_scopes(ns, self.opened, group, self.flags)
        if not reporter.wants & {"symbols", "bindings", "reloc", "files"}:
            return
        from rtld.elf.explain import tell_bindings

        order = [module for module in ns.relocation_order if module in walks]
        new: dict[Module, set[Module]] = {module: {module, *module.needed} for module in order}
        new.get(group.root, set()).update(group.order)

        def meet(module: Module, definer: Module) -> None:
            """What it is bound to beside its own needs (elf/dl-lookup.c, add_dependency)."""
            if definer not in new[module] and definer not in self.opened.startup:
                new[module].add(definer)
                if definer not in self.opened.pinned:
                    reporter.depends(module, definer)

        tell_bindings(ns, reporter, order, walks, meet)

    def _relocate(self) -> None:
        from rtld.elf.hosted import adjust_images
        from rtld.elf.images import build_images, relocate_relative
        from rtld.elf.relocate import relocate_symbolic

        ns, world = self.ns, self.world
        build_images(ns, self.own)
        relocate_relative(ns, self.own)
        relocate_symbolic(ns, self.own, ns.relocations, ns.bindings)
        adjust_images(ns, link_map=world.maps.__getitem__, binder=world.anchor.label("bind"))

    def _lend_tls(self) -> Steps:
        """Thread-local storage: ld.so opens a donor for each module that has some, and tells its numbers."""
        from rtld.elf import donor
        from rtld.elf.hosted import relocate_tls, tls_users

        ns, world, service = self.ns, self.world, self.service
        owners = [module for module in self.own if tls_segment(module) is not None]
        static = tls_users(ns)
        descriptors: dict[Module, tuple[int, int]] = {}
        for module in owners:
            segment = module.file.segment(t.PT_TLS)
            size, align, first = (
                segment.memsz,
                max(segment.align, 1),
                segment.vaddr & (max(segment.align, 1) - 1),
            )
            fixed = module in static or bool(module.file.dt_flags & t.DF_STATIC_TLS)
            data = donor.donor(self._initial(module), size, align, first, static=fixed)
            handle = yield from self._open_donor(module, data)
            base = service.memory.read_word(handle)
            module.tls_id = service.memory.read_word(base + donor.MODULE)
            module.tls_block = 0
            if fixed:
                distance = service.memory.read_word(base + donor.DISTANCE)
                module.tls_offset = distance - (1 << 64) if distance >> 63 else distance
            descriptors[module] = (
                service.memory.read_word(base + donor.DESCRIPTOR),
                service.memory.read_word(base + donor.DESCRIPTOR + 8),
            )
            world.donors[module] = handle
            world.donor_bases[module] = base
            ns.tls.modules.append(module)
        relocate_tls(ns, lambda module, value: self._descriptor(module, value, descriptors))

    def _initial(self, module: Module) -> bytes:
        """The relocated initial image."""
        segment, image = module.file.segment(t.PT_TLS), module.image
        if image.low <= segment.vaddr and segment.vaddr + segment.filesz <= image.high:
            return bytes(image.view(segment.vaddr, segment.filesz))
        return bytes(module.file.contents(segment))

    def _open_donor(self, module: Module, data: bytes) -> Generator[List, list[int], int]:
        from rtld.elf.donor import unique_path

        service, channel = self.service, self.service.channel
        at = service.scratch(len(data) + 64)
        channel.put(at, b"rtld-tls\0".ljust(64, b"\0") + data)
        calls = service.calls(4)
        made = calls.add(NR["memfd_create"], at, 1)
        calls.use(made, len(calls) + 1, 0)
        calls.add(NR["write"], 0, at + 64, len(data))
        fd = (yield calls)[made]
        if fd < 0:
            fd = yield from self._unnamed_file(at, data)
        if fd < 0:
            raise DlError(
                f"{module.path}: cannot allocate thread-local storage: {os.strerror(-fd)}"
            )
        self.world.lent += 1
        channel.put(at, unique_path(fd, self.world.lent) + b"\0")
        calls = service.calls(3)
        handle = calls.add(CALL, self.world.real["dlopen"], at, RTLD_NOW)
        calls.add(NR["close"], fd)
        result = (yield calls)[handle] & _WORD
        if not result:
            raise DlError(f"{module.path}: cannot allocate memory in static TLS block")
        return result

    def _unnamed_file(self, at: int, data: bytes) -> Generator[List, list[int], int]:
        """The same where memfd_create is forbidden: a file on disk that has no name."""
        made = -1
        for directory in (b"/dev/shm\0", b"/tmp\0", b"/var/tmp\0"):
            self.service.channel.put(at, directory)
            calls = self.service.calls(4)
            opened = calls.add(
                NR["openat"], -100, at, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o700
            )
            calls.use(opened, len(calls) + 1, 0)
            calls.add(NR["write"], 0, at + 64, len(data))
            made = (yield calls)[opened]
            if made >= 0:
                break
        return made

    def _descriptor(
        self, module: Module | None, value: int, lent: dict[Module, tuple[int, int]]
    ) -> tuple[int, int]:
        """The two words of a TLS descriptor for a variable at *value* of the module's block."""
        world = self.world
        if module is None:
            return world.descriptor_stub("tlsdesc_undefweak"), value & _WORD
        if module not in lent and module not in world.donors:
            return world.descriptor_stub("tlsdesc_static"), module.tls_offset + value & _WORD
        resolver, argument = lent.get(module) or world.lent_descriptors[module]
        world.lent_descriptors[module] = resolver, argument
        if argument >> 63:
            # ld.so found room in the static block: the argument is a distance from the thread pointer.
            return resolver, argument + value & _WORD
        # struct tlsdesc_dynamic_arg { {module, offset}, generation }: one of its own for each variable.
        old = self.service.memory.read(argument, 24)
        offset = int.from_bytes(old[8:16], "little") + value & _WORD
        at = world.heap.allocate(24)
        self.service.memory.write(at, old[:8] + offset.to_bytes(8, "little") + old[16:])
        return resolver, at

    def _map(self) -> Steps:
        service = self.service
        paths = [os.fsencode(module.path) + b"\0" for module in self.own]
        at = service.scratch(sum(map(len, paths)) + 8)
        service.channel.put(at, b"".join(paths))
        calls = service.calls(sum(8 + 3 * len(m.file.loads) for m in self.own) + 1)
        place = at
        for module, name in zip(self.own, paths, strict=True):
            add_mapping(calls, module, place, reserved=True)
            place += len(name)
        for module in self.own:
            # What the alignment has left over.
            (begin, size), (start, end) = self.ranges[module], span(module)
            for low, high in ((begin, start), (end, begin + size)):
                if low < high:
                    calls.add(NR["munmap"], low, high - low)
        got = yield calls
        path = ""
        names = iter(self.own)
        for number, value in zip(calls.numbers(), got, strict=True):
            if number == NR["openat"]:
                path = next(names).path
            if -4096 < value < 0:
                if number == NR["openat"]:
                    why = f"cannot open shared object file: {os.strerror(-value)}"
                else:
                    why = "failed to map segment from shared object"
                raise DlError(f"{path}: {why}")
        service.memory.write_many([piece for module in self.own for piece in pieces(module)])

    def _resolve(self) -> Steps:
        """IFUNCs that have not been asked before; then all their places."""
        ns, world, service = self.ns, self.world, self.service
        resolvers = [*(i.resolver for i in ns.ifuncs), *world.keep_slots(ns, self.own)]
        todo = [r for r in dict.fromkeys(resolvers) if r not in world.ifuncs]
        if todo:
            calls = service.calls(len(todo) + 1)
            for resolver in todo:
                calls.add(CALL, resolver)
            got = yield calls
            world.ifuncs.update(
                (resolver, value & _WORD) for resolver, value in zip(todo, got, strict=True)
            )
        written = [
            (i.place, (world.ifuncs[i.resolver] + i.addend & _WORD).to_bytes(8, "little"))
            for i in ns.ifuncs
        ]
        service.memory.write_many([*written, *world.slot_values(self.own)])

    def _order(self) -> list[Module]:
        """The group, dependencies first; and what the order of termination will depend on."""
        ns, group, memory = self.ns, self.group, self.world.order
        for module in group.new:
            # What is opened directly has no list while its dependencies are sorted (elf/dl-deps.c).
            if module is not group.root:
                memory.lists[module] = [module, *module.needed]
        ordered = memory.opened(group.root, group.order)
        staying = {*self.opened.startup, *self.opened.pinned}
        if self.flags & RTLD_NODELETE:
            staying.add(group.root)
        for module, definer in bound_pairs(ns, self.small):
            # elf/dl-lookup.c, add_dependency: not on what cannot be unloaded anyway.
            if not definer.hosted and definer not in staying:
                memory.depends(module, definer)
        return sort_musl([group.root]) if ns.model == "musl" else ordered[::-1]

    def _commit(self) -> Steps:
        """Make the group known: tables, termination functions, final protections."""
        ns, world, group, service = self.ns, self.world, self.group, self.service
        for module in self.own:
            world.inits[module] = init_functions(module)
            world.finis[module] = fini_functions(module)
        note_group(ns, self.opened, group, self.small)
        world.tell_kept(ns)
        world.set_space(self.number, ns, self.opened)
        world.adds += len(group.new)
        order = self._order()
        new = set(group.new)
        self.initialised = init_first([module for module in order if module in new], self.own)
        world.constructed += [module for module in self.initialised if not module.hosted]
        written = [*self.records, *world.link_records(), *world.tables()]
        if not service.exiting:
            written += world.fini_array()
        service.memory.write_many(written)
        calls = service.calls(len(self.own) + 1)
        for module in self.own:
            add_relro(calls, module)
        if calls:
            yield calls
        for module in self.own:
            module.image = None
        ns.arena = None


def tell_scopes(ns: Namespace, opened: Opened, group: Group, flags: int) -> dict[Module, Scopes]:
    """Tell what the members of a group see (elf/dl-open.c, show_scopes); returns the lists of the new ones.

    A member that was opened before gets the group as one more list, and tells that; one of the start keeps what it had.
    """
    reporter = ns.reporter
    lists = [ns.global_scope.modules, group.order]
    if flags & RTLD_DEEPBIND:
        lists.reverse()
    walks: dict[Module, Scopes] = {
        module: [(module,), *lists] if is_symbolic(module) else lists for module in group.new
    }

    def tell(module: Module, *, only_new: bool) -> None:
        if module is ns.interp:
            reporter.scope(module, ())
        elif module in walks:
            reporter.scope(module, walks[module])
        elif module in opened.startup:
            reporter.scope(module, lists[:1])
        else:
            before = [ns.global_scope.modules, *opened.groups.get(module, ())]
            reporter.scope(module, [*before, group.order], len(before) if only_new else 0)

    if "scopes" in reporter.wants:
        tell(group.root, only_new=False)
        for module in group.order:
            tell(module, only_new=True)
    return walks


def bound_pairs(ns: Namespace, small: SmallLink | None) -> list[tuple[Module, Module]]:
    """(referrer, definer) of references, in the order in which relocation meets them."""
    if small is not None:
        return [(key[0], answer[0]) for key, answer in small.answers.items() if answer is not None]
    r, b = ns.relocations, ns.bindings
    if r is None or b is None or not len(r.at) or not len(b):
        return []
    rows = r.reference[r.reference >= 0]
    rows = rows[b.definer[rows] >= 0]
    modules = b.modules
    pairs = dict.fromkeys((b.referrer[rows] * len(modules) + b.definer[rows]).tolist())
    return [(modules[pair // len(modules)], modules[pair % len(modules)]) for pair in pairs]


def unload_calls(world: World, modules: Sequence[Module], calls: List) -> None:
    """Unmap modules; their donors go back to ld.so."""
    for module in modules:
        start, end = span(module)
        calls.add(NR["munmap"], start, end - start)
        donor = world.donors.pop(module, None)
        if donor is not None:
            calls.add(CALL, world.real["dlclose"], donor)

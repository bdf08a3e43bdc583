"""Everything of the program but the libc family, into a process that stands at the entry of its anchor.

``TakeOver(...).run()`` is read like a pipeline: adopt what ld.so has loaded, choose addresses, relocate, map, write, ask
resolvers, protect, prepare initialisers; afterwards the process has only to be let go.
"""

from __future__ import annotations

import os
import signal
import struct

from rtld.backends.child import live_anchor as layout
from rtld.backends.child.calls import NR
from rtld.backends.child.channel import SIZE as SHARED_SIZE
from rtld.backends.child.channel import Channel
from rtld.backends.child.live_anchor import REPLACED, List
from rtld.backends.child.parked import Parked
from rtld.core.module import Module
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.dlopen import find_symbol
from rtld.elf.file import ElfFile
from rtld.elf.link import bind, relocate
from rtld.elf.load import store_word
from rtld.elf.scalar import dynsym
from rtld.elf.small import GiveUp, records_with_symbols
from rtld.elf.verneed import defined_versions, needed_versions, version_table
from rtld.errors import FormatError, TargetFault
from rtld.events import CALLS
from rtld.process.live.stopped import lowest_mapping, run_list
from rtld.process.live.world import (
    INIT,
    PREINIT,
    World,
    fini_functions,
    init_functions,
    preinit_functions,
)
from rtld.process.mapping import (
    MAP_NORESERVE,
    MAP_SHARED,
    add_mapping,
    add_relro,
    pieces,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.child.live_anchor import LiveAnchor
    from rtld.backends.child.ptrace import Registers
    from rtld.core.module import Namespace
    from rtld.elf.small import SmallLink
    from rtld.process.live.stopped import Held, Stack
    from rtld.process.live.world import Pieces

AT_BASE, AT_SYSINFO_EHDR = 7, 33
_WORD = (1 << 64) - 1

#: Functions of libc and ld.so that we call, or ask about what they have loaded by themselves.
REAL = (*REPLACED, "__tls_get_addr")


class TakeOver:
    """One process being linked. ``undo``: what has to be put back on its stack before it starts."""

    def __init__(
        self,
        ns: Namespace,
        tracee: Held,
        anchor: LiveAnchor,
        stack: Stack,
        small: SmallLink | None,
        undo: Pieces,
    ) -> None:
        self.ns = ns
        self.file = ns.main.file
        self.path = ns.main.path
        self.tracee = tracee
        self.pid = tracee.pid
        self.anchor = anchor
        self.stack = stack
        self.small = small
        self.reporter = ns.reporter
        self._undo = undo
        self.world = World(ns, anchor, self.pid)
        self.channel: Channel
        self.check: Callable[[], None]  # when the column passes have bound it: may it start?
        self.now = False  # no PLT slot waits for its first call

    def run(self) -> None:
        """Link; the process is then ready to go."""
        tracee, ns, anchor = self.tracee, self.ns, self.anchor
        saved = tracee.regs().copy()
        memory = tracee.memory
        world = self.world
        self._adopt_hosted()
        self._choose_addresses()
        for module in ns.modules:
            self.reporter.placed(module)
        self.reporter.release()
        world.replace_functions(ns, [module for module in ns.modules if module.hosted])
        modules = [module for module in ns.modules if not module.hosted]
        records = world.add_records(ns.modules)
        changes = self._relocate()
        self._adopt_vdso()
        world.adds = len(ns.modules)
        records += world.add_records([m for m in ns.modules if m not in world.maps])
        world.lazy = ns.lazy
        resolvers = world.keep_slots(ns, modules)
        self._map(saved, [module for module in modules if module is not ns.main])
        self._copy_from_hosted()
        records += world.link_records() + world.tables()
        self._tell_debuggers()
        tls = self._tls_images(saved.fs_base)
        written = [piece for module in modules for piece in pieces(module)]
        written += self._copies()
        tracee.write(*world.descriptor_code())
        memory.write_many([*written, *records, *tls, *self._control()])
        for place, value in changes:
            memory.write_word(place, value)
        self._call_resolvers(saved, resolvers)
        memory.write_many(world.slot_values(modules))
        calls = List(world.heap.allocate(64 * (len(modules) + 2)))
        for module in modules:
            add_relro(calls, module)
        if calls:
            run_list(tracee, anchor, calls, saved)
        self._prepare_functions(saved, modules)

    def _relocate(self) -> list[tuple[int, int]]:
        """Make the images; returns the words of hosted modules that must change."""
        ns, binder, link_map = self.ns, self.anchor.label("bind"), self.world.maps.__getitem__
        if self.small is not None:
            try:
                self.small.relocate(link_map=link_map, binder=binder)
                return self.small.hosted_changes()
            except GiveUp:
                # Something only the column passes know: begin again with them.
                ns.ifuncs, ns.copies = [], []
                bind(ns)
                self.check()
        self._postpone()
        relocate(ns)
        from rtld.elf.hosted import adjust_images, hosted_changes

        adjust_images(ns, link_map=link_map, binder=binder)
        changes = hosted_changes(ns)
        self._fill_descriptors()
        return changes

    def _postpone(self) -> None:
        """Functions of which ld.so says something when they are called first: their slots wait."""
        if self.ns.notices and not self.now:
            from rtld.elf.notices import at_first_call

            self.ns.told_when_called = at_first_call(self.ns)

    def _adopt_hosted(self) -> None:
        """Where ld.so has put the libc family, and what numbers their thread-local storage has."""
        memory, ns = self.tracee.memory, self.ns
        debug = memory.read_word(self.anchor.dynamic("DEBUG"))
        at = memory.read_word(debug + 8)
        found: list[tuple[int, str]] = []
        while at:
            base, name, _ld, at, _prev = struct.unpack("<5Q", memory.read(at, 40))
            found.append((base, os.fsdecode(memory.read_string(name))))
        wanted = {m.path: m for m in ns.modules if m.hosted}
        if ns.interp is not None:
            wanted[ns.interp.path] = ns.interp
            ns.interp.base = memory.read_word(self.stack.aux[AT_BASE])
        by_soname = {m.soname: m for m in wanted.values() if m.soname}
        tls: list[Module] = []
        for base, name in found[1:]:
            module = wanted.get(name) or by_soname.get(name.rpartition("/")[2])
            if module is None:
                continue
            module.base = base
            if module.file.segment(t.PT_TLS) is not None:
                tls.append(module)
        self._number_tls(tls)

    def _adopt_vdso(self) -> None:
        """The kernel's own module stands second in ld.so's list (musl: last), in no scope."""
        word = self.stack.aux.get(AT_SYSINFO_EHDR)
        if word is None:
            return
        ns, memory = self.ns, self.tracee.memory
        base = memory.read_word(word)
        header = memory.read(base, 64)
        # Its section headers stand last: e_shoff + e_shnum * e_shentsize.
        end = int.from_bytes(header[40:48], "little") + 64 * int.from_bytes(header[60:62], "little")
        name = "" if ns.model == "musl" else "linux-vdso.so.1"
        try:
            file = ElfFile(memory.read(base, end), name)
        except (FormatError, TargetFault):
            return
        vdso = Module(file, name, len(ns.modules))
        vdso.soname, vdso.hosted, vdso.init_index = file.soname, True, len(ns.modules)
        vdso.base = base - file.span[0]
        self.world.vdso = vdso
        ns.modules.insert(len(ns.modules) if ns.model == "musl" else 1, vdso)
        for alias in (name, vdso.soname):
            if alias:
                ns.by_name.setdefault(alias, vdso)

    def _number_tls(self, hosted: list[Module]) -> None:
        """TLS module 1 is the anchor, with our modules in it; then the hosted ones as ld.so has met them."""
        size = self.anchor.tls_size
        for module in self.ns.tls.modules:
            module.tls_id = 1
            module.tls_block = size + module.tls_offset
        for number, module in enumerate(hosted, 2 if size else 1):
            module.tls_id = number

    def _choose_addresses(self) -> None:
        """Below everything that is in the mmap area, first module first, as mmap itself would."""
        ns = self.ns
        start, end = ns.main.file.span
        top = lowest_mapping(self.pid, (ns.main.base + start, ns.main.base + end))
        for module in ns.modules:
            if module.hosted or module is ns.main:
                continue
            low, high = module.file.span
            top = (top - page_up(high - low)) & -module.file.max_align
            module.base = top - low

    def _fill_descriptors(self) -> None:
        """TLS descriptors: all blocks are at fixed distances from the thread pointer."""
        ns = self.ns
        if not ns.descriptors:
            return
        static = self.world.descriptor_stub("tlsdesc_static")
        undefined = self.world.descriptor_stub("tlsdesc_undefweak")
        import numpy as np

        words = np.ndarray((len(ns.arena) - 7,), "<u8", ns.arena, strides=(1,))
        for d in ns.descriptors:
            words[d.site] = undefined if d.offset is None else static
            words[d.site + 8] = (d.addend if d.offset is None else d.offset + d.addend) & _WORD

    def _map(self, saved: Registers, modules: list[Module]) -> None:
        """Map files and the shared memory."""
        self.channel = Channel()
        paths: dict[Module, int] = {}
        strings = bytearray()
        count = 8
        for module in modules:
            paths[module] = len(strings)
            strings += os.fsencode(module.path) + b"\0"
            count += 5 + 3 * len(module.file.loads)
        shared = len(strings)
        strings += self.channel.path() + b"\0"
        world = self.world
        at = world.heap.allocate(len(strings))
        self.tracee.write(at, bytes(strings))
        calls = List(world.heap.allocate(64 * count))
        for module in modules:
            add_mapping(calls, module, at + paths[module])
        # Afterwards: mmap would have put it where the modules are to be.
        opened = calls.add(NR["openat"], -100, at + shared, 0o2000002)
        calls.use(opened, len(calls) + 1, 4)
        mapped = calls.add(NR["mmap"], 0, SHARED_SIZE, 3, MAP_SHARED | MAP_NORESERVE, 0, 0)
        calls.use(opened, len(calls) + 1, 0)
        calls.add(NR["close"], 0)
        calls.add(NR["prctl"], 1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        assert len(calls) < count
        got = run_list(self.tracee, self.anchor, calls, saved)
        bad = [value for value in got if -4096 < value < 0]
        if bad:
            raise TargetFault(f"{self.path}: a library cannot be mapped: {os.strerror(-bad[0])}")
        self.channel.address = got[mapped]
        world.heap.free(calls.address, 64 * count)
        world.heap.free(at, len(strings))

    def _copy_from_hosted(self) -> None:
        """COPY relocations whose original is in a hosted module: as it is at this moment."""
        for copy in self.ns.copies:
            if copy.definer.hosted and copy.size:
                data = self.tracee.read(copy.definer.base + copy.source, copy.size)
                memoryview(copy.module.image.view(copy.place, copy.size))[:] = data

    def _copies(self) -> Pieces:
        """The places of COPY relocations: they are in .bss, which ``pieces`` leaves out."""
        return [
            (
                copy.module.base + copy.place,
                memoryview(copy.module.image.view(copy.place, copy.size)),
            )
            for copy in self.ns.copies
            if copy.size
        ]

    def _tell_debuggers(self) -> None:
        """DT_DEBUG of the program leads to the list of our modules."""

        main = self.ns.main
        dynamic = main.file.segment(t.PT_DYNAMIC)
        for i, (tag, _value) in enumerate(main.file.dynamic.entries):
            if tag == t.DT_DEBUG:
                store_word(main, dynamic.vaddr + 16 * i + 8, self.world.r_debug)

    def _tls_images(self, thread_pointer: int) -> Pieces:
        """Initialised thread-local data, for the first thread and for those to come."""
        image = bytearray(self.anchor.tls_size)
        for module in self.ns.tls.modules:
            segment = module.file.segment(t.PT_TLS)
            if not segment.filesz:
                continue
            held = module.image
            if (
                held is not None
                and held.low <= segment.vaddr
                and segment.vaddr + segment.filesz <= held.high
            ):
                data = held.view(segment.vaddr, segment.filesz).tobytes()
            else:
                data = bytes(module.file.contents(segment))
            image[module.tls_block : module.tls_block + len(data)] = data
        if not image:
            return []
        return [(self.anchor.tls_image, bytes(image)), (thread_pointer - len(image), bytes(image))]

    def _control(self) -> Pieces:
        """The words that the anchor's code reads."""
        world, at = self.world, self.anchor.control
        world.real = real = {name: self._real(name) for name in REAL}
        words = {
            layout.CONTROL_SHARED: self.channel.address,
            layout.CONTROL_STATE: world.number,
            layout.CONTROL_REAL: real["_dl_find_object"],
            layout.CONTROL_ITERATE: real["dl_iterate_phdr"],
            layout.CONTROL_TIMEOUT: 2,
        }
        for number, name in enumerate(layout.SERVICES):
            words[layout.CONTROL_FALLBACK + 8 * number] = real.get(name, 0)
        written: Pieces = [
            (at + offset, value.to_bytes(8, "little")) for offset, value in words.items()
        ]
        written.append((at + layout.CONTROL_NONCE, self.channel.nonce))
        return written

    def _real(self, name: str) -> int:
        """The address of a function in the hosted module that defines it."""
        hosted = [module for module in self.ns.modules if module.hosted]
        if self.ns.interp is not None and self.ns.interp not in hosted:
            hosted.append(self.ns.interp)
        found = find_symbol(hosted, name.encode(), None)
        if found is None:
            return 0
        module, index = found
        return int(module.base + dynsym(module.file).symbol(index).value)

    def _call_resolvers(self, saved: Registers, more: list[int]) -> None:
        """IFUNCs: ask each resolver once, in the process, and write what it says."""
        ns, world = self.ns, self.world
        todo = list(dict.fromkeys([*(ifunc.resolver for ifunc in ns.ifuncs), *more]))
        if not todo:
            return
        calls = List(world.heap.allocate(64 * (len(todo) + 1)))
        for resolver in todo:
            calls.add(layout.CALL, resolver)
        got = run_list(self.tracee, self.anchor, calls, saved)
        world.ifuncs.update(
            (resolver, value & _WORD) for resolver, value in zip(todo, got, strict=True)
        )
        world.heap.free(calls.address, 64 * (len(todo) + 1))
        memory = self.tracee.memory
        for ifunc in ns.ifuncs:
            value = world.ifuncs[ifunc.resolver] + ifunc.addend
            memory.write_word(ifunc.place, value)
            for copy in ns.copies:
                # What has been copied may have such a word in it.
                within = ifunc.place - copy.definer.base - copy.source
                if 0 <= within <= copy.size - 8:
                    memory.write_word(copy.module.base + copy.place + within, value)

    def _prepare_functions(self, saved: Registers, modules: list[Module]) -> None:
        """Initialisers and termination functions; then the registers of the program's first instruction."""
        ns, world, anchor, stack = self.ns, self.world, self.anchor, self.stack
        memory = self.tracee.memory
        world.told = bool(self.reporter.wants & CALLS)
        world.constructed = [module for module in ns.init_order if not module.hosted]
        # (function, its argument if it is ours: what is to be told)
        functions = world.told_before(PREINIT, ns.main, preinit_functions(ns.main))
        for module in ns.init_order:
            if module is not ns.main:
                own = [] if module.hosted else init_functions(module)
                functions += world.told_before(INIT, module, own)
        own, begin = [], [anchor.label("begin")] if world.told else []
        if ns.model == "musl":
            # Its libc calls all of them.
            own = [function for function, told in functions if not told]
            functions = []
        if self._libc_initialises():
            own += [*begin, *init_functions(ns.main), *begin]
        else:
            functions += [(function, 0) for function in 2 * begin]
        world.finis = {module: fini_functions(module) for module in modules}
        world.arguments = (stack.argc, stack.argv, stack.envp)
        world.argv0 = memory.read_word(stack.argv)
        array = world.heap.allocate(8 * len(own) + 8)
        written = [
            (array, b"".join(f.to_bytes(8, "little") for f in own)),
            (anchor.dynamic("INIT_ARRAY"), array.to_bytes(8, "little")),
            (anchor.dynamic("INIT_ARRAYSZ"), (8 * len(own)).to_bytes(8, "little")),
            *world.fini_array(),
            *self._undo,
        ]
        calls = List(world.heap.allocate(64 * (len(functions) + 2)))
        if isinstance(self.tracee, Parked):
            calls.add(NR["close"], self.tracee.descriptor)
        for function, told in functions:
            calls.add(layout.CALL, function, told or stack.argc, stack.argv, stack.envp)
        written.append((calls.address, calls.bytes()))
        memory.write_many(written)
        regs = saved.copy()
        regs.rip = anchor.label("enter")
        regs.rdi, regs.r12, regs.r13 = calls.address, ns.main.base + self.file.entry, saved.rdx
        regs.orig_rax = _WORD
        self.tracee.set_regs(regs)

    def _libc_initialises(self) -> bool:
        """Does libc call the program's initialisers? Before 2.34 the program's own start-up code did."""
        return self.ns.model == "musl" or start_version(self.file) == b"GLIBC_2.34"


def start_version(file: ElfFile) -> bytes | None:
    """The version of __libc_start_main that a program refers to."""
    table = dynsym(file)
    for _offset, _kind, symbol, _addend in records_with_symbols(file):
        if table.name(symbol) == b"__libc_start_main":
            versions = version_table(needed_versions(file), defined_versions(file))
            return versions.get(table.version(symbol) & 0x7FFF, (None, False))[0]
    return None

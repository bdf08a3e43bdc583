"""Our linker's part of an emulated process: everything but the libc family is found, bound, relocated and initialised here.

    process = start_linked(system, "/usr/bin/sort", argv, env, options)

``plant`` puts an anchor in the program's place; the guest's ld.so starts it, and with it libc. At the anchor's entry point,
which means Python, ``Guest.take_over`` is read like a pipeline; it ends at the program's own first instruction.
"""

from __future__ import annotations

import os

from rtld.arch.calling import CALLED
from rtld.backends.emulated.calls import Caller
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.dlopen import Opened
from rtld.elf.fini import Order
from rtld.elf.link import bind, relocate
from rtld.elf.load import binds_now, build_scopes, store_word
from rtld.elf.scalar import dynsym
from rtld.elf.small import GiveUp, bind_small
from rtld.elf.tls import round_up
from rtld.errors import TargetFault
from rtld.process.emulated.anchor import STDIN_USED, Anchor
from rtld.process.emulated.closure import find_program
from rtld.process.emulated.dlservice import GuestServices
from rtld.process.emulated.execve import (
    AT_ENTRY,
    AT_PHDR,
    AT_PHENT,
    AT_PHNUM,
    READ,
    WRITE,
    Image,
    map_load,
)
from rtld.process.emulated.initialisers import Initialisers
from rtld.process.emulated.layouts import PAGE
from rtld.process.emulated.slots import Slots
from rtld.process.foreign.world import TLS_ALIGN
from rtld.process.hosting import is_hosted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.arch.base import Arch
    from rtld.backends.emulated.machine import Machine
    from rtld.core.image import Image as ModuleImage
    from rtld.core.module import Module, Namespace
    from rtld.elf.small import SmallLink
    from rtld.process.emulated.execve import Process
    from rtld.process.emulated.system import Link
    from rtld.process.foreign.hooks import Audit

#: Thread-local storage for libraries that the program opens. It is a part of each thread's stack: of the smallest that glibc
#: allows, 16 KiB, enough must be left.
RESERVE = 6 << 10
_TUNABLE = b"glibc.rtld.optional_static_tls="
_MOST_RESERVED = 1 << 24
HIDDEN = b"LD_"  # variables that are our linker's affair; ld.so must not see them
SHOWN = b"LD_LIBRARY_PATH="


class Guest(Initialisers):
    """One program and its libraries in an emulated process. What it opens later is opened as in any ``World``."""

    def __init__(
        self,
        process: Process,
        link: Link,
    ) -> None:
        self.process = process
        self.system = process.system
        self.machine: Machine = process.machine
        self.arch: Arch = process.arch
        self.word = self.arch.word
        self.file = process.program.file
        self.program = os.fsdecode(process.argv[0]) if process.argv else ""
        self.order = self.file.order
        self.reporter = process.system.reporter
        self.anchor: Anchor
        if self.arch.name in CALLED:
            self.caller = Caller(self.machine)
        self.opened = Opened([])
        self.sequence = Order()
        self.tls_used = 0
        self.closed = False
        self._stubs: dict[str, int] = {}
        self.audit: Audit | None = None
        if link.hooks is not None:
            from rtld.process.foreign.guest import Guest as Calls
            from rtld.process.foreign.hooks import Audit

            self.audit = Audit(self, Calls(self.machine, self.arch.name, self.caller), link.hooks)
        self.linked = False  # the modules are in memory
        self.arguments = (0, 0, 0)  # of initialisers: argc, argv, envp
        self.ifuncs: dict[int, int] = {}  # resolver -> what it said
        self.finis: dict[Module, list[int]] = {}
        self.constructed: list[Module] = []
        self.home: dict[Module, int] = {}  # the number of its namespace, if it is not the first
        self.spaces: dict[int, tuple[Namespace, Opened]] = {}  # all but the current one
        self.current = 0
        self.ns: Namespace = find_program(self, link)
        self.postponed = self.ns.postponed
        self.leaves_out = self.ns.leaves_out
        self._undo: list[tuple[int, bytes]] = []
        self.small: SmallLink | None = None  # who has bound it, if not the column passes
        self.slots: Slots
        self.binder = 0  # where PLT slots lead at their first call; 0: they do not wait

    # -- before there is anything in memory -----------------------------------------------------------

    def marks_hosted(self, ns: Namespace) -> None:
        """Which modules the guest's ld.so loads."""
        for module in ns.modules:
            module.hosted = is_hosted(module, ns)
        if ns.interp is not None:
            ns.interp.hosted = True

    # -- the anchor -------------------------------------------------------------------------------------

    def plant(self) -> None:
        """Put the anchor into memory; when the stack has been built, ``lead`` leads ld.so to it."""
        ns, machine, tls = self.ns, self.machine, self.ns.tls
        if self.arch.tls.variant == 2:
            align = max(tls.align, TLS_ALIGN)
            size = round_up(tls.size + self.reserve, align)
            shape = (size, align, 0)
            self.tls_start = -size
            self.tls_used = 0  # the program's own are at the end of it
        else:
            # The lowest block stands where the program's code expects it: the anchor's begins there.
            self.tls_start = min(
                (m.tls_offset for m in tls.modules), default=self.arch.tls.tcb_size
            )
            end = max(
                (m.tls_offset + m.file.segment(t.PT_TLS).memsz for m in tls.modules),
                default=self.tls_start,
            )
            align = max(tls.align, TLS_ALIGN)
            shape = (end - self.tls_start + self.reserve, align, self.tls_start % align)
            self.tls_used = end - self.tls_start
        needed = [os.fsencode(m.path) for m in ns.modules if m.hosted and m is not ns.interp]
        if ns.model == "musl":
            needed = [os.fsencode(self.file.interp or "")]
        interp = os.fsencode(self.file.interp or "")
        functions = (machine.function(self._initialise, 3), machine.function(self._finish, 0))

        def make(base: int) -> Anchor:
            old = not dynsym(self.file).named(STDIN_USED)
            return Anchor(
                self.arch,
                self.order,
                base,
                interp,
                needed,
                shape,
                functions,
                self.file.flags,
                old=old,
            )

        base = machine.memory.reserve(make(0).size, high=True)
        self.anchor = make(base)
        machine.memory.map(base, self.anchor.size, READ | WRITE)
        machine.memory.write(base, self.anchor.image)

    @property
    def reserve(self) -> int:
        """RESERVE, and what GLIBC_TUNABLES asks for (man 3 tunables), of which glibc itself takes 512 without being asked."""
        for text in self.process.env:
            if text.startswith(b"GLIBC_TUNABLES="):
                for part in text[15:].split(b":"):
                    value = part.removeprefix(_TUNABLE)
                    if value != part and value.isdigit():
                        return RESERVE + min(int(value[:9]), _MOST_RESERVED)
        return RESERVE

    def lead(self) -> None:
        """Change the auxiliary vector, and hide variables, until ``take_over``."""
        machine, aux = self.machine, self.process.aux
        entry = machine.trap(self.take_over)
        values = {
            AT_PHDR: self.anchor.phdr,
            AT_PHENT: self.anchor.phent,
            AT_PHNUM: self.anchor.phnum,
            AT_ENTRY: entry,
        }
        for kind, value in values.items():
            at, before = aux[kind]
            self._undo.append((at, self.pack(before)))
            machine.write(at, self.pack(value))
        argc = machine.word(self.process.sp)
        argv = self.process.sp + self.word
        envp = argv + self.word * (argc + 1)
        self.arguments = (argc, argv, envp)
        at = envp
        while pointer := machine.word(at):
            text = machine.read(pointer, 16)
            if text.startswith(HIDDEN) and not text.startswith(SHOWN):
                self._undo.append((pointer, b"L"))
                machine.write(pointer, b"X")
            at += self.word

    # -- at the anchor's entry point ------------------------------------------------------------------

    def take_over(self) -> int:
        """Link everything; where to go on: the program's first instruction."""
        ns = self.ns
        self.adopt_hosted()
        self.services: GuestServices = GuestServices(self)
        self.services.replace([module for module in ns.modules if module.hosted])
        self.small = bind_small(ns, emulated=True) if self._is_plain() else None
        if self.small is None:
            bind(ns)
            self._refuse_unbound()
        else:
            build_scopes(ns)
        self._number_tls()
        self._choose_addresses()
        changes = self._relocate()
        own = [module for module in ns.modules if not module.hosted]
        for module in own:
            self.map_module(module)
        self._copies()
        self._tls_images()
        self._tell_debuggers()
        for module in own:
            self.fill(module)
        for place, value in changes:
            self.write_word(place, value)
        self.resolve_ifuncs()
        if self.audit is not None:
            self._tell_hooks(self.audit, own)
        for module in own:
            self.protect(module)
        for at, data in self._undo:
            self.machine.write(at, data)
        ns.lazy = False
        self.opened = Opened(ns.modules)
        self.linked = True
        self.tls_started, self.machine.kernel.born = self.tls_used, self.complete_thread
        if self.machine.debugger is not None:
            self.machine.debugger.linked()
        for observer in self.system.observers if self.system.is_first else ():
            observer.linked(self.process)
        self.run_initialisers()
        return int(ns.main.base + self.file.entry)

    def _tell_hooks(self, audit: Audit, own: list[Module]) -> None:
        """Bindings, but for those of slots that wait for their first call; then the new modules."""
        ns = self.ns
        audit.bound(own, audit.bindings(ns), later=lambda module: ns.lazy and not binds_now(module))
        for module in own:
            audit.hooks.objopen(module)
        audit.hooks.activity("consistent")

    def adopt_hosted(self) -> None:
        """Where ld.so has put the libc family (<link.h>: r_debug, link_map)."""
        ns, machine = self.ns, self.machine
        at = machine.word(machine.word(self.anchor.debug) + self.word)
        found: list[tuple[int, str]] = []
        while at and len(found) < 100:
            base, name, _, at = (machine.word(at + self.word * i) for i in range(4))
            found.append((base, os.fsdecode(self.read_string(name)) if name else ""))
        wanted = {m.path: m for m in ns.modules if m.hosted}
        if ns.interp is not None:
            wanted[ns.interp.path] = ns.interp
            assert self.process.interp is not None
            ns.interp.base = self.process.interp.base
        by_name = {
            name: m
            for m in wanted.values()
            for name in (m.soname, os.path.basename(m.path))
            if name
        }
        for base, path in found[1:]:
            module = wanted.get(path) or by_name.get(os.path.basename(path))
            if module is not None:
                module.base = base
        lost = [m.path for m in wanted.values() if not m.base]
        if lost:
            raise TargetFault(f"the guest's dynamic linker has not loaded {lost[0]}")

    def _number_tls(self) -> None:
        """All are in the anchor's storage, which is TLS module 1."""
        for module in self.ns.tls.modules:
            module.tls_id = 1
            module.tls_block = module.tls_offset - self.tls_start

    def _choose_addresses(self) -> None:
        """As mmap would: below everything, the first module first; the program has its place."""
        ns, memory = self.ns, self.machine.memory
        ns.main.base = self.process.program.base
        for module in ns.modules:
            if module.hosted or module is ns.main:
                continue
            low, high = module.file.span
            size = page_up(high) - (low & -PAGE)
            module.base = memory.reserve(size, module.file.max_align, high=True) - (low & -PAGE)

    def _is_plain(self) -> bool:
        """May the scalar passes bind it (elf/small.py)? They leave libgcc_s as it is, which is to ask us (hosted.py)."""
        ns = self.ns
        if (
            self.audit is not None
            or ns.leaves_out is not None
            or ns.model == "musl"
            or self.arch.implicit_got
        ):
            return False
        return all(m.is_libc_family for m in ns.modules if m.hosted)

    def _refuse_unbound(self) -> None:
        from rtld.process.emulated.refusal import refuse_unbound

        waits = self.leaves_out is not None
        refuse_unbound(self.ns, self.program, self.reporter, self.system.sysroot, waits=waits)

    def _relocate(self) -> list[tuple[int, int]]:
        """Make the images; the words of hosted modules that must change."""
        ns = self.ns
        if self.small is not None:
            self.slots = Slots(self, ns, self.small)
            self.binder = self.machine.on_bind(self.slots.bind) if ns.lazy else 0
            try:
                self.small.relocate(link_map=self.slots.number, binder=self.binder, lazy=ns.lazy)
                return self.small.hosted_changes()
            except GiveUp:
                # Something only the column passes know: begin again with them.
                self.small, ns.ifuncs, ns.copies = None, [], []
                bind(ns)
                self._number_tls()
                self._refuse_unbound()
        relocate(ns)
        return self._adjust()

    def _adjust(self) -> list[tuple[int, int]]:
        """What stands beside hosted modules; the words of these that must change."""
        from rtld.elf.hosted import adjust_images, hosted_changes, overridden_changes

        ns = self.ns
        self.slots = Slots(self, ns)
        self.binder = self.machine.on_bind(self.slots.bind) if ns.lazy else 0
        adjust_images(ns, link_map=self.slots.number, binder=self.binder)
        for row in ns.descriptors:
            words = self.descriptor(row.offset, row.addend)
            for i, part in enumerate(self.arch.tls.descriptor):
                store_word(row.module, row.place - row.module.base + i * self.word, words[part])
        return [*hosted_changes(ns), *overridden_changes(ns)]

    # -- into memory ------------------------------------------------------------------------------------

    def map_module(self, module: Module) -> None:
        """The file's pages; what linking has changed comes later (``fill``)."""
        own = module is self.ns.main
        fd = (
            self.process.program.fd
            if own
            else os.open(module.file.path, os.O_RDONLY | os.O_CLOEXEC)
        )
        try:
            image = Image(module.file, fd, module.path)
            image.base = module.base
            for load in module.file.loads:
                map_load(self.machine, image, load)
        finally:
            if not own:
                os.close(fd)
        self.reporter.placed(module)

    def fill(self, module: Module) -> None:
        """The bytes of its writable segments, as the linker has made them."""
        image: ModuleImage = module.image
        memory = self.machine.memory
        for load in image.segments:
            if load.filesz:
                size = min(load.filesz, image.high - load.vaddr)
                memory.write(module.base + load.vaddr, memoryview(image.view(load.vaddr, size)))

    def _copies(self) -> None:
        """COPY relocations: from hosted modules as they are now, else as relocated; their places are zeros of the program's."""
        for copy in self.ns.copies:
            if not copy.size:
                continue
            place = copy.module.base + copy.place
            if copy.definer.hosted:
                data: Any = self.machine.read(copy.definer.base + copy.source, copy.size)
                memoryview(copy.module.image.view(copy.place, copy.size))[:] = data
            else:
                data = bytes(memoryview(copy.module.image.view(copy.place, copy.size)))
            self.machine.write(place, data)

    def _tls_images(self) -> None:
        """Initialised thread-local data, for the first thread and for those to come."""
        pointer = self.machine.kernel.get_tls() - self.arch.tls.tp_bias
        for module in self.ns.tls.modules:
            segment = module.file.segment(t.PT_TLS)
            image = module.image
            if (
                image is not None
                and image.low <= segment.vaddr
                and segment.vaddr + segment.filesz <= image.high
            ):
                data = bytes(memoryview(image.view(segment.vaddr, segment.filesz)))
            else:
                data = bytes(module.file.contents(segment))
            self.machine.write(self.anchor.tls_image + module.tls_block, data)
            self.machine.write(pointer + module.tls_offset & self.machine.kernel.mask, data)

    def _tell_debuggers(self) -> None:
        """DT_DEBUG of the program leads to ld.so's list."""
        main = self.ns.main
        dynamic = main.file.segment(t.PT_DYNAMIC)
        for i, (tag, _value) in enumerate(main.file.dynamic.entries):
            if tag == t.DT_DEBUG:
                store_word(
                    main,
                    dynamic.vaddr + 2 * self.word * i + self.word,
                    self.machine.word(self.anchor.debug),
                )

    def resolve_ifuncs(self) -> None:
        """Ask each resolver once, in the guest, and write what it says."""
        for ifunc in self.ns.ifuncs:
            value = self.resolve(ifunc.resolver) + ifunc.addend
            self.write_word(ifunc.place, value)
            for copy in self.ns.copies:
                within = ifunc.place - copy.definer.base - copy.source
                if 0 <= within <= copy.size - self.word:
                    self.write_word(copy.module.base + copy.place + within, value)

    bare = False

    def call(self, address: int, *arguments: int) -> int:
        """A function of words, on the stack of the thread that runs."""
        return self.machine.call(address, *arguments)

    @property
    def tls_first(self) -> int:
        """Where the anchor's thread-local storage begins, from the thread pointer."""
        return self.tls_start

    def protect(self, module: Module) -> None:
        """RELRO."""
        relro = module.file.segment(t.PT_GNU_RELRO)
        if relro is not None:
            start = module.base + relro.vaddr & -PAGE
            end = module.base + relro.vaddr + relro.memsz & -PAGE
            if start < end:
                self.machine.memory.protect(start, end - start, READ)

    def load_wanted(self, module: Module, name: str, version: str | None) -> bool:
        from rtld.process.emulated.lazyload import load_for

        return load_for(self, module, name, version)

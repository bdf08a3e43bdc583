"""Run a program that our linker links: the live child.

    status = run("/usr/bin/python3", ["python3", "-c", "print(1)"])

The kernel's part is done as ever (``kernel.py``), and the process stopped at the first instruction of ld.so. There it is
given a dynamic anchor to start instead of the program (``backends/child/live_anchor.py``); while ld.so initialises the libc
family for it, we bind the program against these files. At the anchor's entry all other modules are mapped, relocated for
the addresses of this process and initialised, libc's own references to symbols that the program defines are changed, and
the program starts. From then on nobody traces it: what it asks of its dynamic linker (dlopen, dlsym, ..., the first call
through a lazy PLT slot) comes through shared memory (``backends/child/channel.py``) and is answered by a thread here.
"""

from __future__ import annotations

import os
import signal
import struct
import sys

from rtld.backends.child import live_anchor as layout
from rtld.backends.child.calls import NR, call_once, find_gate
from rtld.backends.child.channel import SIZE as SHARED_SIZE
from rtld.backends.child.channel import Channel
from rtld.backends.child.live_anchor import REPLACED, List, LiveAnchor, results
from rtld.backends.child.ptrace import EXITED, KILLED, SIGNAL
from rtld.elf import types as t
from rtld.elf.dlopen import find_symbol
from rtld.elf.file import ElfFile
from rtld.elf.link import bind, find_closure, open_namespace, relocate
from rtld.elf.load import build_scopes, store_word
from rtld.elf.scalar import dynsym
from rtld.elf.search import SearchOptions
from rtld.elf.small import GiveUp, SmallLink, bind_small, records_with_symbols
from rtld.elf.verneed import defined_versions, needed_versions, version_table
from rtld.errors import RtldError, TargetFault
from rtld.events import QUIET
from rtld.process import kernel
from rtld.process.foreground import Foreground
from rtld.process.loading import is_hosted
from rtld.process.mapping import (
    MAP_ANONYMOUS,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    add_mapping,
    add_relro,
    page_down,
    page_up,
    pieces,
)
from rtld.process.world import World, fini_functions, init_functions, preinit_functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtld.backends.child.ptrace import Registers, Tracee
    from rtld.core.module import Module, Namespace
    from rtld.events import Reporter

# fmt: off
AT_NULL, AT_PHDR, AT_PHNUM, AT_BASE, AT_ENTRY, AT_SYSINFO_EHDR = 0, 3, 5, 7, 9, 33
_WORD = (1 << 64) - 1
# fmt: on

#: Variables that are our linker's business; ld.so must not see them when it starts the anchor.
_HIDDEN = b"LD_"
_SHOWN = (b"LD_LIBRARY_PATH=",)


#: Functions of libc and ld.so that we call, or ask about what they have loaded by themselves.
REAL = (*REPLACED, "__tls_get_addr")


class StartFailed(RtldError):
    """The program cannot be linked; ``status`` is what ld.so would have exited with."""

    def __init__(self, text: str, status: int = 127) -> None:
        self.text = text
        self.status = status
        super().__init__(text)

    def __str__(self) -> str:
        return self.text


def run(
    path: str,
    argv: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    library_path: str | None = None,
    preload: str | None = None,
    lazy: bool | None = None,
    reporter: Reporter | None = None,
    aslr: bool = True,
    seed: int | None = None,
) -> int:
    """Run a program linked by us and wait for it; returns its wait status.

    *lazy*: True leaves all PLT slots to their first call, False binds all before the start, None binds what it can.
    Programs without a dynamic section, or of another kind than ours, are left to ``kernel.run_program``.
    """
    arguments = list(argv) if argv else [path]
    prepared = kernel.prepare(path, arguments)
    file = prepared.file
    for fd in (prepared.fd, prepared.interp_fd):
        if fd >= 0:
            os.close(fd)
    if not can_link(file):
        return kernel.run_program(path, arguments, env, aslr=aslr, seed=seed)
    launch = Launch(file, file.name, list(prepared.argv), env, reporter or QUIET, lazy)
    try:
        return launch.run(path, arguments, library_path, preload, aslr=aslr, seed=seed)
    except StartFailed as failure:
        # In the words of ld.so, and where it says them.
        print(failure, file=sys.stderr, flush=True)
        return failure.status << 8


def can_link(file: ElfFile) -> bool:
    """Is there anything for us to link, and do we know how?"""
    return (
        file.dynamic is not None
        and file.interp is not None
        and (file.machine, file.bits) == (t.EM_X86_64, 64)
        and bool(file.needed)
    )


class Launch:
    """One program being started."""

    def __init__(
        self,
        file: ElfFile,
        path: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        reporter: Reporter,
        lazy: bool | None,
    ) -> None:
        self.file = file
        self.path = path
        self.argv = argv
        self.env = env
        self.reporter = reporter
        self.lazy = lazy
        self.ns: Namespace
        self.tracee: Tracee
        self.anchor: LiveAnchor
        self.world: World
        self.channel: Channel
        self.small: SmallLink | None = None  # the bindings of a small program
        self.pid = 0
        self._undo: list[tuple[int, bytes]] = []  # the stack as the program is to find it

    def run(
        self, path: str, argv: Sequence[str], library_path: str | None, preload: str | None, *, aslr: bool, seed: int | None
    ) -> int:
        """Start it and wait for its end; returns its wait status."""
        self.find(library_path, preload)
        with Foreground() as foreground:
            self.start(path, argv, aslr=aslr, seed=seed, sigmask=foreground.sigmask)
            status = self.take_over()
            if status is not None:
                return status
            from rtld.process.server import Server

            with Server(self.world, self.channel, self.argv[0], self.tracee.memory):
                self.tracee.detach()
                return foreground.wait(self.pid)

    # -- before there is a process ------------------------------------------------------------------

    def find(self, library_path: str | None, preload: str | None) -> None:
        """The closure, and who of it is hosted."""
        env = self.env
        if env is not None:
            env = {os.fsdecode(k): os.fsdecode(v) for k, v in env.items()}
        options = SearchOptions(library_path=library_path, preload=preload, env=env)
        self.ns = ns = open_namespace(self.file, self.path, options, self.reporter)
        find_closure(ns, self.file, self.path)
        if ns.search.env.get("LD_BIND_NOW"):
            self.lazy = False
        ns.lazy = bool(self.lazy)
        for module in ns.modules:
            module.hosted = is_hosted(module, ns)
        if ns.interp is not None:
            ns.interp.hosted = True
        self._refuse_missing()

    def _refuse_missing(self) -> None:
        program = self.argv[0]
        for problem in self.ns.problems:
            if problem.kind == "library" and problem.fatal:
                text = f"{program}: error while loading shared libraries: {problem.message}"
                raise StartFailed(text)
            if problem.kind == "preload":
                print(f"ERROR: ld.so: {problem.message}", file=sys.stderr)

    # -- until ld.so has done its part ----------------------------------------------------------------

    def start(
        self, path: str, argv: Sequence[str], *, aslr: bool, seed: int | None, sigmask: set[int] | None
    ) -> None:
        """Start the process, plant the anchor, let ld.so run; bind meanwhile."""
        from rtld.elf.tls import layout_tls

        self.tracee = kernel.start_stopped(path, argv, self.env, aslr=aslr, seed=seed, sigmask=sigmask)
        self.pid = self.tracee.pid
        try:
            layout_tls(self.ns)
            self._plant()
            self.tracee.cont()
            self._bind()
        except BaseException:
            self.tracee.kill()
            raise

    def _bind(self) -> None:
        """Answer every reference; a small program's without numpy."""
        self.small = bind_small(self.ns)
        if self.small is None:
            bind(self.ns)
            self._check_bound()
        else:
            build_scopes(self.ns)

    def _plant(self) -> None:
        """Write the anchor into the process and lead ld.so to it."""
        tracee, ns = self.tracee, self.ns
        stack = self._read_stack()
        gate = find_gate(tracee)
        interp = os.fsencode(self.file.interp or "")
        needed = [os.fsencode(m.path) for m in ns.modules if m.hosted and m is not ns.interp]
        if ns.model == "musl":
            needed = [b"libc.so"]  # which is the dynamic linker itself
        gnu_stack = self.file.segment(t.PT_GNU_STACK)

        def make(base: int) -> LiveAnchor:
            tls = (ns.tls.size, ns.tls.align)
            flags = None if gnu_stack is None else gnu_stack.flags
            return LiveAnchor(base, interp, needed, tls, stack=flags)

        size = make(0).size
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        base = call_once(tracee, gate, NR["mmap"], 0, size, PROT_READ | PROT_WRITE, flags, -1, 0)
        if base < 0:
            raise OSError(-base, os.strerror(-base))
        self.anchor = anchor = make(base)
        call_once(tracee, gate, NR["mprotect"], anchor.code, PAGE, PROT_READ | PROT_EXEC)
        tracee.write(base, anchor.image)
        memory = tracee.memory
        phdr, phnum, entry = (stack.aux[number] for number in (AT_PHDR, AT_PHNUM, AT_ENTRY))
        self._undo += [(at, memory.read(at, 8)) for at in (phdr, phnum, entry)]
        ns.main.base = 0 if self.file.type == t.ET_EXEC else memory.read_word(entry) - self.file.entry
        memory.write_word(phdr, anchor.base + 64)
        memory.write_word(phnum, int.from_bytes(anchor.image[56:58], "little"))
        memory.write_word(entry, anchor.label("start"))
        for at in stack.variables:
            self._undo.append((at, b"L"))
            memory.write(at, b"X")

    def _read_stack(self) -> Stack:
        sp = self.tracee.regs().rsp
        self.stack = Stack(sp, os.pread(self.tracee.memory.fd, 1 << 22, sp))
        return self.stack

    def _check_bound(self) -> None:
        """What ld.so refuses before the program's first instruction."""
        program = self.argv[0]
        versions = [p.message for p in self.ns.problems if p.kind == "version" and p.fatal]
        if versions:
            raise StartFailed("\n".join(f"{program}: {message}" for message in versions), 1)
        for problem in self.ns.problems:
            if problem.kind == "no version information" or problem.kind == "copy size":
                print(f"{program}: {problem.message}", file=sys.stderr, flush=True)
        undefined = first_undefined(self.ns, now=self.lazy is False)
        if undefined is not None:
            raise StartFailed(f"{program}: symbol lookup error: {undefined}")

    # -- our part -------------------------------------------------------------------------------------

    def take_over(self) -> int | None:
        """Link everything into the process; a wait status if it ended before."""
        tracee = self.tracee
        status = wait_for_trap(tracee)
        if status is not None:
            return status
        try:
            self._link()
        except BaseException:
            tracee.kill()
            raise
        return None

    def _link(self) -> None:
        tracee, ns, anchor = self.tracee, self.ns, self.anchor
        saved = tracee.regs().copy()
        memory = tracee.memory
        self.world = world = World(ns, anchor, self.pid)
        world.adds = len(ns.modules) + 1  # the vdso counts
        self._adopt_hosted()
        self._choose_addresses()
        world.replace_functions(ns, [module for module in ns.modules if module.hosted])
        modules = [module for module in ns.modules if not module.hosted]
        records = world.add_records(ns.modules)
        changes = self._relocate()
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
        relocate(ns)
        from rtld.elf.hosted import adjust_images, hosted_changes

        adjust_images(ns, link_map=link_map, binder=binder)
        changes = hosted_changes(ns)
        self._fill_descriptors()
        return changes

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
        vdso = self.stack.aux.get(AT_SYSINFO_EHDR)
        if vdso is not None:
            base = memory.read_word(vdso)
            header = memory.read(base, 64)
            phoff, phnum = int.from_bytes(header[32:40], "little"), int.from_bytes(header[56:58], "little")
            self.world.vdso = (base, base + phoff, phnum)

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
        self.channel.close_fd()
        world.heap.free(calls.address, 64 * count)
        world.heap.free(at, len(strings))

    def _copy_from_hosted(self) -> None:
        """COPY relocations whose original is in a hosted module: as it is at this moment."""
        for copy in self.ns.copies:
            if copy.definer.hosted and copy.size:
                data = self.tracee.read(copy.definer.base + copy.source, copy.size)
                memoryview(copy.module.image.view(copy.place, copy.size))[:] = data

    def _copies(self) -> list[tuple[int, memoryview]]:
        """The places of COPY relocations: they are in .bss, which ``pieces`` leaves out."""
        return [
            (copy.module.base + copy.place, memoryview(copy.module.image.view(copy.place, copy.size)))
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

    def _tls_images(self, thread_pointer: int) -> list[tuple[int, bytes]]:
        """Initialised thread-local data, for the first thread and for those to come."""
        image = bytearray(self.anchor.tls_size)
        for module in self.ns.tls.modules:
            segment = module.file.segment(t.PT_TLS)
            if not segment.filesz:
                continue
            held = module.image
            if held is not None and held.low <= segment.vaddr and segment.vaddr + segment.filesz <= held.high:
                data = held.view(segment.vaddr, segment.filesz).tobytes()
            else:
                data = bytes(module.file.contents(segment))
            image[module.tls_block : module.tls_block + len(data)] = data
        if not image:
            return []
        return [(self.anchor.tls_image, bytes(image)), (thread_pointer - len(image), bytes(image))]

    def _control(self) -> list[tuple[int, bytes]]:
        """The words that the anchor's code reads."""
        world, at = self.world, self.anchor.control
        world.real = real = {name: self._real(name) for name in REAL}
        words = {
            layout.CONTROL_SHARED: self.channel.address,
            layout.CONTROL_STATE: world.number,
            layout.CONTROL_SERVER: os.getpid(),
            layout.CONTROL_REAL: real["_dl_find_object"],
            layout.CONTROL_ITERATE: real["dl_iterate_phdr"],
            layout.CONTROL_TIMEOUT: 2,
        }
        for number, name in enumerate(layout.SERVICES):
            words[layout.CONTROL_FALLBACK + 8 * number] = real.get(name, 0)
        written = [(at + offset, value.to_bytes(8, "little")) for offset, value in words.items()]
        written.append((at + 0x100, b"linux-vdso.so.1\0"))
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
        world.ifuncs.update((resolver, value & _WORD) for resolver, value in zip(todo, got, strict=True))
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
        functions = preinit_functions(ns.main)
        world.constructed = [module for module in ns.init_order if not module.hosted]
        for module in ns.init_order:
            if not module.hosted and module is not ns.main:
                self.reporter.init(module)
                functions += init_functions(module)
        own = init_functions(ns.main) if self._libc_initialises() else []
        if ns.model == "musl":
            functions, own = [], functions + own
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
        calls = List(world.heap.allocate(64 * (len(functions) + 1)))
        for function in functions:
            calls.add(layout.CALL, function, stack.argc, stack.argv, stack.envp)
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


def first_undefined(ns: Namespace, *, now: bool) -> str | None:
    """The message for the first reference that ld.so would fail at, relocating dependencies first; None if there is none."""
    problems = [p for p in ns.problems if p.kind == "symbol"]
    if not problems:
        return None
    import numpy as np

    from rtld.elf.load import binds_now
    from rtld.elf.resolve import UNDEFINED

    r, b, slot = ns.relocations, ns.bindings, ns.arch.reloc_types.jump_slot
    rank = {module: i for i, module in enumerate(ns.relocation_order)}
    rows = np.flatnonzero((r.reference >= 0) & (b.kind == UNDEFINED)[r.reference])
    failing = []
    for row, number, kind in zip(rows.tolist(), r.module[rows].tolist(), r.type[rows].tolist(), strict=True):
        module = ns.columns.modules[number]
        if not module.hosted and (kind != slot or now or binds_now(module)):
            failing.append((rank.get(module, 0), row))
    if not failing:
        return None
    reference = int(r.reference[min(failing)[1]])
    module = b.modules[int(b.referrer[reference])]
    version = b.version_name(reference)
    return f"{module.path}: undefined symbol: {b.name(reference)}" + (f", version {version}" if version else "")


class Stack:
    """What the kernel put on the stack of a new program (psABI 3.4.1)."""

    def __init__(self, sp: int, data: bytes) -> None:
        self.argc = int.from_bytes(data[:8], "little")
        self.argv = sp + 8
        self.envp = at = sp + 8 * (self.argc + 2)
        self.variables: list[int] = []  # addresses of environment strings to be hidden
        self.aux: dict[int, int] = {}  # AT_* -> address of its value
        while True:
            (pointer,) = struct.unpack_from("<Q", data, at - sp)
            at += 8
            if not pointer:
                break
            text = data[pointer - sp : pointer - sp + 16] if pointer >= sp else b""
            if text.startswith(_HIDDEN) and not text.startswith(_SHOWN):
                self.variables.append(pointer)
        while True:
            number, _value = struct.unpack_from("<QQ", data, at - sp)
            if number == AT_NULL:
                return
            self.aux[number] = at + 8
            at += 16


def lowest_mapping(pid: int, program: tuple[int, int]) -> int:
    """The start of the lowest mapping that is neither the program's, nor the heap, nor in the first 4 GiB."""
    with open(f"/proc/{pid}/maps", "rb") as file:
        for line in file:
            low, _, rest = line.partition(b"-")
            start = int(low, 16)
            if start < 1 << 32 or program[0] <= start < page_up(program[1]) or rest.rstrip().endswith(b"[heap]"):
                continue
            return page_down(start)
    raise TargetFault(f"the process {pid} has no mappings")


def run_list(tracee: Tracee, anchor: LiveAnchor, calls: List, saved: Registers) -> list[int]:
    """Let the stopped process work off a list now; returns the results."""
    tracee.write(calls.address, calls.bytes())
    regs = saved.copy()
    regs.rip, regs.rdi, regs.rsp = anchor.label("again"), calls.address, (saved.rsp - 512) & -16
    regs.orig_rax = _WORD
    tracee.set_regs(regs)
    tracee.cont()
    status = wait_for_trap(tracee)
    if status is not None:
        raise TargetFault(f"the process {tracee.pid} ended while it was being linked (status {status:#x})")
    return results(tracee.read(calls.address, 64 * len(calls)))


def wait_for_trap(tracee: Tracee) -> int | None:
    """Wait for the next int3; a wait status if the process ends before. Other signals are sent again."""
    late = []
    while True:
        stop = tracee.wait()
        if stop.kind == EXITED:
            return stop.value << 8
        if stop.kind == KILLED:
            return stop.value
        if stop.kind == SIGNAL and stop.value == signal.SIGTRAP:
            break
        if stop.kind == SIGNAL and stop.value in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE):
            tracee.cont(stop.value)  # its end, then
            continue
        if stop.kind == SIGNAL:
            late.append(stop.value)
        tracee.cont()
    for number in late:
        os.kill(tracee.pid, number)
    return None

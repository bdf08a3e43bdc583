"""A guest without a program: an emulated CPU, the C library of a sysroot, and the libraries that are opened in it.

    world = World(sysroot)
    module = world.open("libz.so.1")
    world.symbol(module, "crc32", None)

The guest's own ld.so starts an anchor (``backends/emulated/anchor.py``) and with it libc, which only it can initialise. Everything
else is found, bound, relocated and initialised by our linker (``foreign_load.py``), beside the copies of libc and ld.so that are
there. What libraries ask of a dynamic linker later, dlopen and the tables of unwinders, comes to Python (``foreign_dl.py``).
"""

from __future__ import annotations

import contextlib
import os

from rtld.backends.emulated import open_machine
from rtld.backends.emulated.calls import Caller
from rtld.backends.emulated.kernel import Ended
from rtld.backends.emulated.linux.tree import Tree
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE, NotMapped
from rtld.core.module import Module, Scope
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.dlopen import RTLD_NOW, Opened, handle_scope
from rtld.elf.file import ElfFile
from rtld.elf.fini import Order
from rtld.elf.link import open_namespace
from rtld.elf.scalar import dynsym
from rtld.elf.search import SearchOptions
from rtld.elf.sysroot import Sysroot
from rtld.errors import NotFound, RtldError, TargetFault, UnresolvedSymbol, Unsupported
from rtld.events import QUIET
from rtld.process.emulated.anchor import Anchor
from rtld.process.foreign.start import (
    find_interpreter,
    initial_stack,
    map_segments,
    protect_segments,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.core.module import Namespace
    from rtld.events import Reporter
    from rtld.process.foreign.hooks import Audit

STACK = 1 << 20
TLS_ALIGN = 64
TLS = 1 << 17  # thread-local storage of all libraries that are opened
FIRST = 1 << 20  # the lowest address
AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = 3, 4, 5, 6, 7, 8, 9
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK = 11, 12, 13, 14, 15, 16, 17
AT_SECURE, AT_RANDOM, AT_EXECFN = 23, 25, 31
#: What the emulated CPUs can do, where programs ask for it: ARM: half, thumb, fastmult, vfp, edsp, neon, vfpv3, tls, vfpv4, idiva,
#: idivt; AArch64: fp, asimd.
HWCAPS = {"arm": 0x7B0D6 & ~0x100, "aarch64": 3, "riscv64": 0x112D, "s390x": 0x7F}
_LIBC = {"glibc": "libc.so.6", "musl": "libc.so"}


class World:
    """One emulated CPU with a C library. Not for several threads at once.

    root            the sysroot; *cpu*, *model* ("glibc", "musl"): which one, where the sysroot has C libraries of several
    library_path    LD_LIBRARY_PATH;  *seconds*: how long one call may take
    """

    bare = True  # there is no program
    adopts = True  # members of the libc family are opened by the guest's own ld.so
    leaves_out: Any = None  # Namespace.leaves_out of what is opened with RTLD_LAZY
    postponed: dict[Module, list[str]] = {}  # noqa: RUF012 (never changed here)

    def __init__(
        self,
        root: str,
        *,
        cpu: str | None = None,
        model: str | None = None,
        library_path: str | None = None,
        seconds: float | None = None,
        memory: int = 1 << 32,
        reporter: Reporter = QUIET,
    ) -> None:
        self.root = Sysroot(root)
        self.arch, path, rules = find_interpreter(self.root, cpu, model)
        self.file = ElfFile(self.root.host(path), path)
        options = SearchOptions(
            sysroot=root, library_path=library_path, model=rules, cpu="baseline"
        )
        self.ns: Namespace = open_namespace(self.file, path, options, reporter)
        self.order = self.file.order
        self.word = self.arch.bits // 8
        self.machine = open_machine(self.arch.name, first=FIRST, memory=memory, seconds=seconds)
        try:
            self.machine.kernel.set_tree(Tree(root, writable=False))
            self.caller = Caller(self.machine)
            self.arguments = (0, 0, 0)
            self._start(path)
            self._adopt_started()
        except BaseException:
            self.close()
            raise
        self.opened = Opened(self.ns.modules)
        self.sequence = Order()
        self.finis: dict[Module, list[int]] = {}
        self.ifuncs: dict[int, int] = {}  # resolver -> what it said
        self.tls_used = self.tls_started = 0
        self.machine.kernel.born = self.complete_thread
        self.closed = False
        self._stubs: dict[str, int] = {}
        self.audit: Audit | None = None
        self.constructed: list[Module] = []
        self.home: dict[Module, int] = {}  # the number of a module's namespace
        self.current = 0
        from rtld.process.foreign.dl import Services

        self.services = Services(self)
        self.services.replace(self.ns.modules)

    # -- the start --------------------------------------------------------------------------------------

    def _start(self, path: str) -> None:
        """Run the guest's ld.so up to the anchor's entry point."""
        machine, arch = self.machine, self.arch
        libc = self._libc()
        memory = machine.memory
        nothing = machine.function(lambda *_: 0, 3)

        def make(at: int) -> Anchor:
            shape = (TLS, TLS_ALIGN, 0)
            return Anchor(
                arch, self.order, at, os.fsencode(path), [libc], shape, (nothing, nothing)
            )

        base = memory.reserve(make(0).size, TLS_ALIGN)
        self.anchor = anchor = make(base)
        memory.map(base, anchor.size, READ | WRITE)
        memory.write(base, anchor.image)
        low, high = self.file.span
        loader = memory.reserve(page_up(high - low), self.file.max_align) - low
        map_segments(self, self.file, loader)
        protect_segments(self, self.file, loader)
        stack = memory.reserve(STACK + PAGE, high=True) + PAGE
        memory.map(stack, STACK, READ | WRITE)
        sp, data = self._stack(stack + STACK, loader)
        memory.write(sp, data)
        machine.engine.set(machine.cpu.sp, sp)
        try:
            machine._run(loader + self.file.entry, machine._returned)
        except Ended as ended:
            raise Unsupported(
                f"{path} did not start: exit status {ended.status}",
                "its message is on standard error",
            ) from None
        argv = sp + self.word
        self.arguments = (1, argv, argv + 2 * self.word)

    def _libc(self) -> bytes:
        """The path of the C library, which the anchor needs."""
        if self.ns.model == "musl":
            return os.fsencode(self.file.name)
        found = self.ns.search.find(_LIBC[self.ns.model], None)
        return os.fsencode(found.path)

    def _stack(self, top: int, loader: int) -> tuple[int, bytes]:
        anchor, arch = self.anchor, self.arch
        auxv: list[tuple[int, int | bytes]] = [
            (AT_PHDR, anchor.phdr), (AT_PHENT, anchor.phent), (AT_PHNUM, anchor.phnum), (AT_PAGESZ, PAGE),
            (AT_BASE, loader), (AT_FLAGS, 0), (AT_ENTRY, self.machine._returned), (AT_UID, 0), (AT_EUID, 0), (AT_GID, 0),
            (AT_EGID, 0), (AT_HWCAP, HWCAPS.get(arch.name, 0)), (AT_CLKTCK, 100), (AT_SECURE, 0),
            (AT_RANDOM, os.urandom(16)), (AT_EXECFN, b"anchor"),
        ]  # fmt: skip
        if arch.platform:
            auxv.append((AT_PLATFORM, arch.platform.encode()))
        return initial_stack(self.order, arch.bits, top, [b"anchor"], [b"LC_ALL=C"], auxv)

    def _adopt_started(self) -> None:
        """The modules that ld.so has loaded, as hosted ones."""
        debug = self.read_word(self.anchor.debug)
        scope = []
        for path, base in self._link_map(debug):
            module = self._hosted(path, base)
            if module is not None:
                scope.append(module)
        if not scope:
            raise TargetFault("the guest's dynamic linker has loaded no C library")
        self.ns.main = scope[0]
        for module in self.ns.modules:
            names = self.ns.by_name
            module.needed = [names[n] for n in module.file.needed if n in names]
        self.ns.global_scope = Scope("global", tuple(scope))

    def _link_map(self, debug: int) -> list[tuple[str, int]]:
        """(name, base) of the link_maps but for the anchor's (<link.h>: l_addr, l_name, l_ld, l_next)."""
        found: list[tuple[str, int]] = []
        at = self.read_word(debug + self.word) if debug else 0
        while at and len(found) < 100:
            base, name, _ld, following = (self.read_word(at + self.word * i) for i in range(4))
            text = os.fsdecode(self.read_string(name)) if name else ""
            if text and base:
                found.append((text, base))
            at = following
        return found

    def _hosted(self, path: str, base: int) -> Module | None:
        ns = self.ns
        if any(module.hosted and module.base == base for module in ns.modules):
            return None
        found = ns.search.open(path)
        module = Module(found.file, path, len(ns.modules))
        module.hosted = module.is_libc_family = True
        module.base = base
        module.soname = found.file.soname
        module.init_index = 0
        ns.modules.append(module)
        for name in (path, found.file.soname, os.path.basename(path)):
            if name:
                module.aliases.add(name)
                ns.by_name.setdefault(name, module)
        if found.file.identity is not None:
            ns.by_identity[found.file.identity] = module
        if found.file.soname == self.arch.soname:
            ns.interp = module
        return module

    def adopt(self, name: str) -> list[Module]:
        """Have the guest's own ld.so open a member of the C library's family; the modules that have come. NotFound."""
        address = self.libc_symbol("dlopen")
        handle = self.call(address, self.lend(os.fsencode(name) + b"\0"), RTLD_NOW)
        if not handle:
            message = self.call(self.libc_symbol("dlerror"))
            raise NotFound(
                name, None, (), os.fsdecode(self.read_string(message)) if message else ""
            )
        before = set(self.ns.modules)
        for path, base in self._link_map(self.read_word(self.anchor.debug)):
            self._hosted(path, base)
        new = [module for module in self.ns.modules if module not in before]
        names = self.ns.by_name
        for module in new:
            module.needed = [names[n] for n in module.file.needed if n in names]
        self.services.replace(new)
        return new

    @property
    def tls_first(self) -> int:
        """Where the anchor's thread-local storage begins, from the thread pointer."""
        return self.arch.tls.place_first(self.anchor.tls_size, TLS_ALIGN)

    # -- memory -----------------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """The guest's bytes."""
        return self.machine.read(address, size)

    def read_word(self, address: int) -> int:
        """A pointer-sized number."""
        return self.machine.word(address)

    def write_word(self, address: int, value: int) -> None:
        """Store one."""
        self.machine.write(address, self.pack(value))

    def pack(self, *values: int) -> bytes:
        """Words in the guest's order."""
        mask = (1 << 8 * self.word) - 1
        order: Any = "little" if self.order == "<" else "big"
        return b"".join([(value & mask).to_bytes(self.word, order) for value in values])

    def read_string(self, address: int) -> bytes:
        """The bytes up to a NUL."""
        out = b""
        while len(out) < 1 << 20:
            part = self.read(address + len(out), PAGE - (address + len(out)) % PAGE)
            end = part.find(0)
            if end >= 0:
                return out + part[:end]
            out += part
        raise TargetFault(f"no end of the string at {address:#x}")

    def lend(self, data: bytes) -> int:
        """A copy of some bytes that stays in the guest."""
        size = page_up(len(data))
        start = self.machine.memory.reserve(size, high=True)
        self.machine.memory.map(start, size, READ | WRITE)
        self.machine.write(start, data)
        return start

    def call(self, address: int, *arguments: int) -> int:
        """A function of words; its result as an unsigned word."""
        pointer = self.caller.rules.model.pointer
        signature = self.caller.signature(pointer, [pointer] * len(arguments))
        result = self.caller.call(address, signature, arguments)
        assert isinstance(result, int)
        return result

    def thread_pointer(self) -> int:
        """Of the thread that is running."""
        engine, name = self.machine.engine, self.arch.name
        if name == "i386":
            assert self.machine.segments is not None
            return self.machine.segments.base(engine.get("gs"))
        if name == "s390x":
            return (engine.get("a0") & 0xFFFFFFFF) << 32 | engine.get("a1") & 0xFFFFFFFF
        return int(engine.get(self.machine.cpu.tls)) - self.arch.tls.tp_bias

    def thread_pointers(self) -> list[int]:
        """Of all threads."""
        machine = self.machine
        others = [task for task in machine.kernel.tasks if task is not machine.kernel.task]
        if not others:
            return [self.thread_pointer()]
        here = machine.engine.save()
        found = [self.thread_pointer()]
        for task in others:
            if machine.segments is not None:
                found.append(machine.segments.base_of(task))
            else:
                machine.engine.restore(task.context)
                found.append(self.thread_pointer())
        machine.engine.restore(here)
        return found

    def complete_thread(self) -> None:
        """A thread begins, and is running: initial images of what has been opened since its block was made.

        libc fills the block some time before it calls clone; what another thread opens in between finds no thread there.
        """
        size = self.tls_used - self.tls_started
        if size <= 0:
            return
        data = self.read(self.anchor.tls_image + self.tls_started, size)
        at = self.thread_pointer() + self.tls_first + self.tls_started
        with contextlib.suppress(NotMapped):  # it will find out itself
            self.machine.write(at & self.machine.kernel.mask, data)

    # -- libraries --------------------------------------------------------------------------------------

    def open(
        self,
        name: str,
        flags: int = RTLD_NOW,
        requester: Module | None = None,
        root: Module | None = None,
    ) -> Module:
        """dlopen: find, bind, map, relocate and initialise. NotFound, FormatError, UnresolvedSymbol, ...

        *root*: the module itself, where it has no name to be found by.
        """
        from rtld.process.foreign.load import open_library

        return open_library(self, name, flags, requester, root)

    def leaves_slots(self, flags: int) -> bool:  # noqa: ARG002
        """Whether what is opened with these flags binds its PLT slots at their first call."""
        return False

    def legacy_functions(self) -> bool:
        """Whether DT_INIT and DT_FINI are called: not by musl on CPUs where they came last (NO_LEGACY_INITFINI)."""
        return self.ns.model != "musl" or self.arch.name not in ("arm", "aarch64")

    def open_slots(self, ns: Namespace) -> None:
        """Let the slots of modules that have just been relocated wait."""
        raise NotImplementedError

    def load_wanted(self, module: Module, name: str, version: str | None) -> bool:  # noqa: ARG002
        """Open the library with a symbol that was left until one of it is needed; False if there is none."""
        return False

    def close_library(self, module: Module) -> None:
        """dlclose."""
        from rtld.process.foreign.load import close_library

        close_library(self, module)

    def every_module(self) -> Iterator[Module]:
        """All that is loaded."""
        yield from self.ns.modules

    def scope(self, module: Module) -> list[Module]:
        """A library and all it needs, in the order they are searched."""
        return list(handle_scope(self.ns, self.opened, module))

    def symbol(self, module: Module, name: str, version: str | None) -> int:
        """The address of a symbol as dlsym gives it. UnresolvedSymbol."""
        from rtld.elf.dlopen import find_symbol

        encoded = version.encode() if version is not None else None
        found = find_symbol(self.scope(module), name.encode(errors="surrogateescape"), encoded)
        if found is None:
            raise UnresolvedSymbol(module.path, name, version)
        return self.value(*found)

    def value(self, module: Module, index: int) -> int:
        """The address of a definition; of a thread-local variable in the running thread; of an IFUNC what it chooses."""
        override = self.ns.overrides.get((module, index))
        if override is not None:
            return override
        symbol = dynsym(module.file).symbol(index)
        kind = symbol.info & 15
        if kind == t.STT_TLS:
            if module.hosted:
                raise Unsupported(f"{module.path}: a thread-local variable of the C library")
            return self.thread_pointer() + module.tls_offset + int(symbol.value)
        address: int = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0)
        return self.resolve(address) if kind == t.STT_GNU_IFUNC else address

    def libc_symbol(self, name: str) -> int:
        """A function of the C library itself, though ours may be in its place for others. UnresolvedSymbol."""
        for module in self.ns.modules:
            if module.hosted:
                for index in dynsym(module.file).named(name.encode()):
                    symbol = dynsym(module.file).symbol(index)
                    if symbol.section != t.SHN_UNDEF and symbol.info & 15 != t.STT_TLS:
                        address: int = symbol.value + module.base
                        return (
                            self.resolve(address)
                            if symbol.info & 15 == t.STT_GNU_IFUNC
                            else address
                        )
        raise UnresolvedSymbol("the C library", name)

    def resolve(self, resolver: int) -> int:
        """Ask an IFUNC's resolver, once (arguments: glibc sysdeps/*/dl-irel.h)."""
        known = self.ifuncs.get(resolver)
        if known is not None:
            return known
        hwcap = HWCAPS.get(self.arch.name, 0)
        arguments: tuple[int, ...] = ()
        if self.arch.name == "aarch64":
            arguments = (hwcap | 1 << 62, self._stub_data(self.pack(24, hwcap, 0)))
        elif self.arch.name in ("arm", "s390x", "riscv64"):
            arguments = (hwcap, 0)
        self.ifuncs[resolver] = chosen = self.call(resolver, *arguments)
        return chosen

    def _stub_data(self, data: bytes) -> int:
        at = self._stubs.get("data")
        if at is None:
            at = self._stubs["data"] = self.lend(data)
        return at

    def stub(self, name: str) -> int:
        """The address of a piece of code of the CPU's."""
        at = self._stubs.get(name)
        if at is None:
            code = self.arch.stubs[name].code
            at = self._stubs[name] = self.machine.memory.reserve(PAGE)
            self.machine.memory.map(at, PAGE, READ | EXECUTE)
            self.machine.memory.write(at, code)
        return at

    def descriptor(self, offset: int | None, addend: int) -> dict[str, int]:
        """The words of a TLS descriptor; *offset*: from the thread pointer, None: an undefined weak variable, whose address is
        the addend.
        """
        if offset is None:
            return {"entry": self.stub("tlsdesc_undefweak"), "argument": addend}
        return {"entry": self.stub("tlsdesc_static"), "argument": offset + addend}

    # -- the end ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Run what is left of termination functions, and have the C library write what it has kept."""
        if self.closed:
            return
        self.closed = True
        from rtld.process.foreign.load import finish

        try:
            finish(self)
            self.call(self.libc_symbol("fflush"), 0)
        except (RtldError, Ended):
            pass  # who cannot end in order ends all the same
        finally:
            self.close()

    def close(self) -> None:
        """Give everything back."""
        self.machine.close()
        for file in {module.file for module in self.ns.modules} | {self.file}:
            try:
                file.close()
            except BufferError:
                pass  # somebody still looks at it

"""``rtld run --pure``: a program of an emulated CPU without its ld.so. Everything is linked here, libc and ld.so among it.

ld.so is one more library: libc refers to variables and functions of it. Its code never starts the process; what it would have
left behind for libc is made by ``glibcstate.py``. Best effort: it is private to glibc, and differs from version to version.
"""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import READ, WRITE
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.dlopen import Opened
from rtld.elf.link import bind, relocate
from rtld.elf.tls import round_up
from rtld.process.emulated.dlservice import GuestServices
from rtld.process.emulated.execve import AT_HWCAP, AT_RANDOM, HWCAP
from rtld.process.emulated.glibcstate import State, refuse
from rtld.process.emulated.guest import Guest
from rtld.process.emulated.ownopen import OwnOpen
from rtld.process.emulated.refusal import refuse_unbound
from rtld.process.foreign.world import TLS_ALIGN
from rtld.process.hosting import is_hosted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.core.module import Module, Namespace

#: Where a program finds what it is to call at exit (psABIs, "Process Initialization").
FINISH = {
    "aarch64": "x0", "arm": "r0", "i386": "edx", "x86_64": "rdx", "riscv64": "a0", "s390x": "r14",
}  # fmt: skip

RSEQ = 32  # struct rseq, which stands there from glibc 2.41 on


class Block:
    """Where new threads find the initial contents of thread-local storage, as with an anchor."""

    debug = 0

    def __init__(self, tls_image: int, tls_size: int) -> None:
        self.tls_image = tls_image
        self.tls_size = tls_size


class PureServices(GuestServices):
    """Also what libc asks of ld.so when it makes a thread, and when something that it opens itself is not there."""

    world: PureGuest

    def table(self) -> dict[str, tuple[Callable[..., int], int, bool]]:
        state = self.world.state
        return {
            **super().table(),
            "_dl_allocate_tls": (state.allocate, 1, True),
            "_dl_allocate_tls_init": (state.initialise, 2, True),
            "_dl_deallocate_tls": (state.deallocate, 2, False),
            "_dl_exception_create": (self.create_exception, 3, False),
            "_dl_exception_free": (self.free_exception, 1, False),
        }

    def create_exception(self, exception: int, name: int, text: int) -> int:
        """struct dl_exception: objname, errstring, message_buffer; ld.so would copy the strings to memory of its malloc."""
        guest = self.world
        strings = [
            self.keep(guest.read_string(at)) if at else self.keep(b"") for at in (name, text)
        ]
        guest.machine.write(exception, guest.pack(*strings, 0))
        return 0

    def free_exception(self, exception: int) -> int:
        """The strings stay."""
        self.world.machine.write(exception, self.world.pack(0, 0, 0))
        return 0


class PureGuest(Guest):
    """One program and all its libraries, libc's among them."""

    adopts = False  # there is nobody who could open members of the libc family

    def marks_hosted(self, ns: Namespace) -> None:
        """Nobody else has loaded anything."""

    @property
    def libc(self) -> Module | None:
        return next((m for m in self.ns.modules if m.soname == "libc.so.6"), None)

    def is_shared(self, module: Module) -> bool:
        return is_hosted(module, self.ns)

    def plant(self) -> None:
        """There is no anchor, and the interpreter is not started."""
        refuse(self)
        interp = self.process.interp
        if interp is not None:
            interp.close()
        self.process.interp = None

    def lead(self) -> None:
        """The first instruction is Python."""
        word = self.word
        argc = self.machine.word(self.process.sp)
        argv = self.process.sp + word
        self.arguments = (argc, argv, argv + word * (argc + 1))
        self.process.start = self.machine.trap(self.take_over)

    def take_over(self) -> int:
        """Link everything; where to go on: the program's first instruction."""
        ns, machine = self.ns, self.machine
        self.state = State(self)
        self.services = PureServices(self)
        self.services.replace([module for module in ns.modules if module.is_libc_family])
        bind(ns)
        self._place_tls()
        self._number_tls()
        refuse_unbound(
            ns, self.program, self.reporter, self.system.sysroot, waits=self.leaves_out is not None
        )
        self._choose_addresses()
        relocate(ns)
        self._adjust()
        for module in ns.modules:
            self.map_module(module)
        self._copies()
        for module in ns.modules:
            self.fill(module)
        self._tls_images()
        self._prepare()
        self.resolve_ifuncs()
        self.state.set_thresholds([ifunc.resolver for ifunc in ns.ifuncs])
        machine.call(self.state.function("__libc_early_init"), 1)
        if self.audit is not None:
            self._tell_hooks(self.audit, ns.modules)
        ns.lazy = False
        self.opened = Opened(ns.modules)
        self.linked = True
        self.tls_started, machine.kernel.born = self.tls_used, self.complete_thread
        OwnOpen(self).install()
        for module in ns.modules:
            self.protect(module)
        if machine.debugger is not None:
            machine.debugger.linked()
        for observer in self.system.observers if self.system.is_first else ():
            observer.linked(self.process)
        self.run_initialisers()
        machine.engine.set(FINISH[self.arch.name], machine.function(self._finish, 0))
        return int(ns.main.base + self.file.entry)

    # -- thread-local storage -------------------------------------------------------------------------

    def _place_tls(self) -> None:
        """Memory for the first thread's block, control block and descriptor, and for what new threads begin with."""
        tls, memory = self.ns.tls, self.machine.memory
        align = max(tls.align, TLS_ALIGN)
        pthread = round_up(self.state.sizeof_pthread, align)
        if self.arch.tls.variant == 2:
            size = round_up(tls.size + self.reserve, align)
            self.tls_start, self.rseq = -size, -size
            self.tls_used = RSEQ
            before, behind = size, pthread
        else:
            offsets = [m.tls_offset for m in tls.modules]
            self.tls_start = min(offsets, default=self.arch.tls.tcb_size)
            end = max(
                (m.tls_offset + m.file.segment(t.PT_TLS).memsz for m in tls.modules),
                default=self.tls_start,
            )
            self.rseq = round_up(end, RSEQ)
            self.tls_used = self.rseq + RSEQ - self.tls_start
            size = round_up(end - self.tls_start + self.reserve, align)
            before, behind = pthread + align, self.tls_start + size
        self.static = size + pthread if self.arch.tls.variant == 2 else round_up(behind, align)
        self.align = align
        total = page_up(before + behind + align)
        start = memory.reserve(total, high=True)
        memory.map(start, total, READ | WRITE)
        self.pointer = round_up(start + before, align)
        image = memory.reserve(page_up(size), high=True)
        memory.map(image, page_up(size), READ | WRITE)
        self.anchor = Block(image, size)  # type: ignore[assignment]

    def thread_pointer(self) -> int:
        return super().thread_pointer() or self.pointer

    def set_thread_pointer(self, value: int) -> None:
        """Of the thread that runs."""
        segments = self.machine.segments
        if segments is None:
            self.machine.kernel.set_tls(value)
            return
        segments.set(6, value, 0xFFFFF, pages=True)
        self.machine.engine.set("gs", 6 << 3 | 3)

    def _tls_images(self) -> None:
        """Initialised thread-local data, for all threads to come."""
        for module in self.ns.tls.modules:
            segment = module.file.segment(t.PT_TLS)
            data = self.machine.read(module.base + segment.vaddr, segment.filesz)
            self.machine.write(self.anchor.tls_image + module.tls_block, data)

    # -- what ld.so would have left behind ----------------------------------------------------------------

    def _prepare(self) -> None:
        state, machine = self.state, self.machine
        argc, argv, _envp = self.arguments
        aux = self.process.aux
        state.make_thread(self.pointer, machine.read(aux[AT_RANDOM][1], 16))
        for name, value in (
            ("_dl_argv", argv), ("__libc_stack_end", self.process.sp), ("__libc_enable_secure", 0), ("_dl_argc", argc),
        ):  # fmt: skip
            state.set_variable(name, value)
        first = min(at for at, _ in aux.values()) - self.word
        hwcap = aux[AT_HWCAP][1] if AT_HWCAP in aux else HWCAP.get(self.arch.name, 0)
        state.fill(first, hwcap, self.static, self.align)
        state.finish_thread(self.pointer, self.rseq)
        state.link_map(machine.function(self._initialise, 3))

    def pack_int(self, value: int) -> bytes:
        """An int in the guest's order."""
        return struct.pack(self.order + "i", value)

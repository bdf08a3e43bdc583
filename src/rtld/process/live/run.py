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

from rtld.backends.child.calls import NR
from rtld.backends.child.live_anchor import LiveAnchor
from rtld.backends.child.parked import Parked
from rtld.elf import types as t
from rtld.elf.link import bind, find_closure, open_namespace
from rtld.elf.load import build_scopes
from rtld.elf.search import SearchOptions, model_of
from rtld.elf.small import bind_small
from rtld.elf.words import loading_lines
from rtld.errors import RtldError, Unsupported
from rtld.events import SPOKEN
from rtld.process import kernel
from rtld.process.hosting import is_hosted
from rtld.process.live.foreground import Foreground
from rtld.process.live.stopped import Stack, call_in, wait_for_trap
from rtld.process.live.takeover import TakeOver
from rtld.process.mapping import (
    MAP_ANONYMOUS,
    MAP_NORESERVE,
    MAP_PRIVATE,
    PAGE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtld.backends.child.channel import Channel
    from rtld.core.module import Namespace
    from rtld.elf.file import ElfFile
    from rtld.elf.small import SmallLink
    from rtld.events import Reporter
    from rtld.process.live.stopped import Held
    from rtld.process.live.world import Pieces, World

AT_PHDR, AT_PHNUM, AT_ENTRY = 3, 5, 9


class StartFailed(RtldError):
    """The program cannot be linked; ``status`` is what ld.so would have exited with."""

    def __init__(self, text: str, status: int = 127) -> None:
        self.text = text
        self.status = status
        super().__init__(text)

    def __str__(self) -> str:
        return self.text


def run(
    program: str | bytes | memoryview,
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
    """Run a program, a path or an ELF file as bytes, linked by us, and wait for it; returns its wait status.

    *lazy*: True leaves all PLT slots to their first call, False binds all before the start, None binds what it can.
    Programs without a dynamic section, or of another kind than ours, are left to ``kernel.run_program``.
    """
    arguments = list(argv) if argv else [program if isinstance(program, str) else "image"]
    prepared = kernel.prepare(program, arguments)
    file = prepared.file
    for fd in (prepared.fd, prepared.interp_fd):
        if fd >= 0:
            os.close(fd)
    if not can_link(file):
        return kernel.run_program(program, arguments, env, aslr=aslr, seed=seed)
    if _is_listed(file, env):
        from rtld.process.run import interpreter_environment

        variables = interpreter_environment(env, library_path, preload, now=lazy is False)
        return kernel.run_program(program, arguments, variables, aslr=aslr, seed=seed)
    # Where ld.so finds a program that has no file: in the root, as far as $ORIGIN goes.
    path = file.name if isinstance(program, str) else f"/memfd:{arguments[0]} (deleted)"
    launch = Launch(
        file, path, list(map(os.fsdecode, prepared.argv)), env, reporter or SPOKEN, lazy
    )
    try:
        return launch.run(program, arguments, library_path, preload, aslr=aslr, seed=seed)
    except StartFailed as failure:
        # In the words of ld.so, and where it says them.
        launch.reporter.release()
        launch.reporter.message(str(failure))
        return failure.status << 8


def can_link(file: ElfFile) -> bool:
    """Is there anything for us to link, and do we know how?"""
    return (
        file.dynamic is not None
        and file.interp is not None
        and (file.machine, file.bits) == (t.EM_X86_64, 64)
        and bool(file.needed)
    )


def _is_listed(file: ElfFile, env: Mapping[str, str] | None) -> bool:
    """Is ld.so asked to list the files and to start nothing, as ldd does? Then it is its own answer that is wanted."""
    name = "LD_TRACE_LOADED_OBJECTS"
    variables = os.environ if env is None else {os.fsdecode(key): "" for key in env}
    return name in variables and model_of(file) == "glibc"


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
        self.tracee: Held
        self.anchor: LiveAnchor
        self.world: World
        self.channel: Channel
        self.small: SmallLink | None = None  # the bindings of a small program
        self.pid = 0
        self._undo: Pieces = []  # the stack as the program is to find it

    def run(
        self,
        program: str | bytes | memoryview,
        argv: Sequence[str],
        library_path: str | None,
        preload: str | None,
        *,
        aslr: bool,
        seed: int | None,
    ) -> int:
        """Start it and wait for its end; returns its wait status."""
        self.find(library_path, preload)
        with Foreground() as foreground:
            self.start(program, argv, aslr=aslr, seed=seed, sigmask=foreground.sigmask)
            status = self.take_over()
            if status is not None:
                return status
            from rtld.process.live.server import Server

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
        self.reporter.hold()
        self.reporter.name_main(self.argv[0])
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
        lines, failure = loading_lines(self.ns, self.argv[0])
        for line in lines:
            self.reporter.message(line)
        if failure is not None:
            raise StartFailed(failure)

    # -- until ld.so has done its part ----------------------------------------------------------------

    def start(
        self,
        program: str | bytes | memoryview,
        argv: Sequence[str],
        *,
        aslr: bool,
        seed: int | None,
        sigmask: set[int] | None,
    ) -> None:
        """Start the process, plant the anchor, let ld.so run; bind meanwhile."""
        from rtld.elf.tls import layout_tls

        try:
            self.tracee = kernel.start_stopped(
                program, argv, self.env, aslr=aslr, seed=seed, sigmask=sigmask
            )
        except Unsupported as error:
            raise Unsupported(
                error.what, error.advice or "rtld run --interp does without"
            ) from None
        self.pid = self.tracee.pid
        self.reporter.about(self.pid)
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
        interp = os.fsencode(self.file.interp or "")
        needed = [os.fsencode(m.path) for m in ns.modules if m.hosted and m is not ns.interp]
        if ns.model == "musl":
            needed = [b"libc.so"]  # which is the dynamic linker itself
        gnu_stack = self.file.segment(t.PT_GNU_STACK)

        heap = (1 << 18) + 4096 * len(ns.modules)
        if ns.lazy:
            # DT_PLTRELSZ is three words a slot, of which we keep one; blocks are rounded up to a power of two.
            heap += sum(m.file.dynamic.get(t.DT_PLTRELSZ, 0) or 0 for m in ns.modules)
        heap = -(-heap // PAGE) * PAGE

        def make(base: int) -> LiveAnchor:
            tls = (ns.tls.size, ns.tls.align)
            flags = None if gnu_stack is None else gnu_stack.flags
            return LiveAnchor(base, interp, needed, tls, stack=flags, heap=heap)

        size = make(0).size
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        base = call_in(tracee, NR["mmap"], 0, size, PROT_READ | PROT_WRITE, flags, -1, 0)
        if base < 0:
            raise OSError(-base, os.strerror(-base))
        self.anchor = anchor = make(base)
        call_in(tracee, NR["mprotect"], anchor.code, PAGE, PROT_READ | PROT_EXEC)
        tracee.write(base, anchor.image)
        if isinstance(tracee, Parked):
            tracee.wait_at(anchor.control)
        memory = tracee.memory
        phdr, phnum, entry = (stack.aux[number] for number in (AT_PHDR, AT_PHNUM, AT_ENTRY))
        self._undo += [(at, memory.read(at, 8)) for at in (phdr, phnum, entry)]
        ns.main.base = (
            0 if self.file.type == t.ET_EXEC else memory.read_word(entry) - self.file.entry
        )
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
        """What ld.so says, and what it refuses, before the program's first instruction."""
        from rtld.elf.notices import relocation_lines, version_lines

        ns, program = self.ns, self.argv[0]
        lines, stops = version_lines(ns, program)
        if stops:
            raise StartFailed("\n".join(lines), 1)
        for line in lines:
            self.reporter.message(line)
        for problem in ns.problems:
            if problem.kind == "ISA level":
                whose = program if problem.module == ns.main.path else problem.module
                raise StartFailed(whose + problem.message.removeprefix(problem.module))
        more, failure = relocation_lines(ns, program, now=self.lazy is False)
        for line in more:
            self.reporter.message(line)
        if failure is not None:
            raise StartFailed(failure)

    # -- our part -------------------------------------------------------------------------------------

    def take_over(self) -> int | None:
        """Link everything into the process; a wait status if it ended before."""
        tracee = self.tracee
        status = wait_for_trap(tracee)
        if status is not None:
            return status
        try:
            taking = TakeOver(self.ns, tracee, self.anchor, self.stack, self.small, self._undo)
            taking.check = self._check_bound
            taking.now = self.lazy is False
            taking.run()
        except BaseException:
            tracee.kill()
            raise
        self.world, self.channel = taking.world, taking.channel
        return None

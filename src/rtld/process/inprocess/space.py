"""This process as our linker sees it: what ld.so has loaded, the spaces of libraries that we have, and their records.

libc and ld.so are one piece of software, and they are running already: every space finds them there ("hosted" modules), and
never loads them again. All other libraries are ours alone. ``Process`` has what there is once; a ``Space`` is one namespace.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import struct
import sys
import threading

from rtld.backends import inprocess as machine
from rtld.core.module import Module, Namespace, Scope
from rtld.elf import types as t
from rtld.elf.dlopen import Opened, containing
from rtld.elf.file import ElfFile
from rtld.elf.fini import Order
from rtld.elf.link import open_namespace
from rtld.elf.load import is_libc_family
from rtld.elf.models import MODELS
from rtld.elf.scalar import dynsym
from rtld.elf.search import SearchOptions
from rtld.elf.search_models import HostRules
from rtld.errors import FormatError, RtldError, Unsupported
from rtld.events import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from rtld.events import Reporter

PAGE = 4096

#: Functions of libc and ld.so that our libraries are to get from us.
SERVICES = (
    "dlopen",
    "dlmopen",
    "dlsym",
    "dlvsym",
    "dlclose",
    "dlerror",
    "dladdr",
    "dladdr1",
    "dlinfo",
)
REPLACED = {name: name for name in SERVICES} | {
    "dl_iterate_phdr": "iterate",
    "_dl_find_object": "find",
    "__cxa_thread_atexit_impl": "atexit",
}

_WORD = (1 << 64) - 1
# struct link_map (<link.h>): l_addr, l_name, l_ld, l_next, l_prev; the rest is ours
_LINK_MAP = struct.Struct("<3Q40x")
_FOUND, _OBJECT = struct.Struct("<4Q"), struct.Struct("<8Q")

_PENDING = 40  # of our link_map: destructors of thread-local objects that are still to run

#: What of the host a space sees: libc only; also the program (Python's own functions); everything ld.so has loaded.
HOSTS = ("libc", "program", "all")


def is_hosted(name: str) -> bool:
    """Is a file of this name ld.so's to load?  The libc family; and libgcc_s, which libc opens on its own to unwind threads."""
    return is_libc_family(name) or name.rpartition("/")[2].startswith("libgcc_s.so")


def span(module: Module) -> tuple[int, int]:
    """First address and the one behind the last, in whole pages."""
    if module.late is not None:
        return module.late.span  # type: ignore[no-any-return]
    low, high = module.file.span
    return module.base + low, module.base + (high + PAGE - 1 & -PAGE)


class Hosted:
    """A file that ld.so has loaded: what every space makes a hosted module of."""

    __slots__ = ("base", "file", "path", "startup", "tls_id", "tls_offset")

    def __init__(self, entry: machine.HostObject, file: ElfFile, path: str, pointer: int) -> None:
        self.file = file
        self.path = path
        self.base: int = entry.base
        self.tls_id: int = entry.tls_module
        self.tls_offset: int = entry.tls_block - pointer if entry.tls_block else 0
        self.startup = False


class Process:
    """What there is once: the host's objects, our machine code and its tables, link_maps, the lock."""

    def __init__(self) -> None:
        why = machine.check_host()
        if why:
            raise Unsupported(
                f"libraries cannot be loaded into {why}",
                "rtld.link reads them, rtld run runs programs",
            )
        self.lock = threading.RLock()
        self.code = machine.Code()
        self.kernel = machine.Kernel()
        self.spaces: list[Space] = []
        self.by_map: dict[int, tuple[Space, Module]] = {}
        self.hosted: dict[str, Hosted] = {}
        self.adds = 1000
        self.leaving = self.waiting = False
        self.keep: dict[Module, list[Any]] = {}  # memory that lives as long as a module
        self.debugging: Any = None  # inprocess_debug.Debugging
        self.watches: list[Any] = []  # inprocess_hooks.Watch, by the number their thunk has
        self.calls: dict[int, Any] = {}  # watched calls that are to be seen returning, by frame
        self.redirections: dict[
            Module, list[Any]
        ] = {}  # hooks.Redirection, in the order they were made
        self.arguments = _arguments()
        self.scan()
        from rtld.process.inprocess.calls import Service

        self.service = Service(self)
        for name, (function, arguments) in self.service.table().items():
            self.code.serve(name, function, arguments)
        from rtld.process.inprocess.quiet import prepare

        prepare()
        self._teach_unwinder()
        atexit.register(self._leave)

    def _leave(self) -> None:
        """Python ends: nothing may lead to it any more. What is open is finished by exit(3) itself."""
        self.leaving = True
        self.code.finish(self._functions())
        if self.redirections:
            from rtld.process.inprocess.hooks import leave_python

            leave_python(self)
        for space in self.spaces:
            space.bind_all()
        self.code.retire(SERVICES)
        # exit(3) comes after the interpreter is gone; what our machine code reads must outlive it.
        machine.immortal(self)

    # -- the host -----------------------------------------------------------------------------------

    def scan(self) -> None:
        """Look at what ld.so has loaded by now."""
        pointer = machine.thread_pointer()
        program = os.readlink("/proc/self/exe")
        fresh = []
        for entry in machine.host_objects():
            path = entry.name or program
            if path in self.hosted or "/rtld-tls" in path or path.startswith("/proc/self/"):
                continue
            try:
                file = ElfFile("/proc/self/exe" if not entry.name else path, name=path)
            except (OSError, FormatError):
                continue
            here = machine.read(entry.phdr, entry.phnum * 56)
            if here != file.data[file.phoff : file.phoff + len(here)] or file.dynamic is None:
                file.close()
                continue
            file.path = path
            self.hosted[path] = Hosted(entry, file, path, pointer)
            fresh.append(self.hosted[path])
        if fresh and not any(h.startup for h in self.hosted.values()):
            _mark_startup(fresh)

    def adopt(self, module: Module) -> None:
        """Let ld.so open a member of the libc family that it has not loaded yet."""
        handle = machine.host_open(os.fsencode(module.path), machine.RTLD_NOW)
        module.hosted = True
        module.base = machine.read_word(handle)
        self.scan()
        known = next((h for h in self.hosted.values() if h.base == module.base), None)
        if known is not None:
            module.tls_id, module.tls_offset = known.tls_id, known.tls_offset

    def _teach_unwinder(self) -> None:
        """Let the host's own libgcc_s find our frames: libc unwinds with it in pthread_exit and pthread_cancel.

        It would skip destructors in our frames otherwise, silently. The word is its reference to ``_dl_find_object``.
        It serves our libraries as well: two unwinders cannot work on the same frames.
        """
        from rtld.elf.small import records_with_symbols

        try:
            machine.host_open(b"libgcc_s.so.1", machine.RTLD_NOW)
        except OSError:
            return
        self.scan()
        for hosted in self.hosted.values():
            if not (hosted.file.soname or "").startswith("libgcc_s.so"):
                continue
            table = dynsym(hosted.file)
            for offset, _kind, symbol, _addend in records_with_symbols(hosted.file):
                name = table.name(symbol)
                if name in (b"_dl_find_object", b"dl_iterate_phdr"):
                    relro = hosted.file.segment(t.PT_GNU_RELRO)
                    end = (relro.vaddr + relro.memsz & -PAGE) if relro else 0
                    final = (
                        machine.PROT_READ
                        if relro and relro.vaddr <= offset < end
                        else machine.PROT_READ | machine.PROT_WRITE
                    )
                    machine.poke(
                        hosted.base + offset,
                        self.code.label("find" if name[:4] == b"_dl_" else "iterate"),
                        final,
                    )

    # -- records --------------------------------------------------------------------------------------

    def add_records(self, space: Space, modules: Iterable[Module]) -> None:
        """A struct link_map (<link.h>) for each module: what handles point to."""
        for module in modules:
            name = b"" if module is space.ns.main else os.fsencode(module.path)
            record, at = machine.block(len(name) + 65)
            dynamic = module.file.segment(t.PT_DYNAMIC)
            base = module.base
            record[: 64 + len(name)] = (
                _LINK_MAP.pack(
                    base & _WORD, at + 64, base + dynamic.vaddr & _WORD if dynamic else 0
                )
                + name
            )
            self.keep.setdefault(module, []).append(record)
            space.maps[module] = at
            self.by_map[at] = (space, module)

    def drop_records(self, space: Space, modules: Iterable[Module]) -> None:
        """Forget modules that are unmapped."""
        gone = set(modules)
        for module in gone:
            at = space.maps.pop(module, None)
            space.rows.pop(module, None)
            if at is not None:
                self.by_map.pop(at, None)
            self.keep.pop(module, None)
            self.redirections.pop(module, None)
        space.initialised -= gone

    def own_modules(self) -> Iterator[tuple[Space, Module]]:
        """Every module that we have loaded."""
        for space in self.spaces:
            for module in space.ns.modules:
                if not module.hosted:
                    yield space, module

    def publish(self) -> None:
        """Renew the tables that unwinders and dl_iterate_phdr read, and the list for the end of the process."""
        rows = [
            space.rows.get(module) or self._rows(space, module)
            for space in self.spaces
            for module in space.maps
            if not module.hosted
        ]
        self.adds += 1
        hidden = [donor.base for space in self.spaces for donor in space.donors.values()]
        self.code.publish(rows, hidden, self.adds)
        if self.leaving:
            self.code.finish(self._functions())
        elif rows and not self.waiting:
            # Their order is found when it is wanted: exit(3) asks us as long as Python is there.
            self.waiting = True
            self.code.finish([self.code.callback("finish", self._finish)])
        if self.debugging is not None:
            self.debugging.update()

    def _rows(self, space: Space, module: Module) -> tuple[bytes, bytes]:
        """A module's rows in the two tables (``x86_64_live``)."""
        start, end = span(module)
        frame = module.file.segment(t.PT_GNU_EH_FRAME)
        record = space.maps[module]
        phdr, phnum = program_headers(module)
        found = _FOUND.pack(start, end, module.base + frame.vaddr if frame else 0, record)
        row = _OBJECT.pack(
            module.base & _WORD, record + 64, phdr, phnum, 0, 0, module.tls_id if module.tls_offset else 0,
            module.tls_offset & _WORD,
        )  # fmt: skip
        space.rows[module] = found, row
        return found, row

    def _functions(self) -> list[int]:
        """The termination functions of all that is loaded, in the order in which they are to run."""
        functions: list[int] = []
        for space in reversed(self.spaces):
            own = [module for module in space.ns.modules if module in space.initialised]
            for module in space.order.sort(own, for_fini=True):
                functions += space.finis.get(module, ())
        return functions

    def _finish(self) -> None:
        """exit(3) was called by code of C while Python is running."""
        for function in self._functions():
            machine.call(function)

    def containing(self, address: int) -> tuple[Space, Module] | None:
        """The module of ours that *address* lies in."""
        for space in self.spaces:
            module = containing([m for m in space.ns.modules if not m.hosted], address, span)
            if module is not None:
                return space, module
        return None

    def host_containing(self, address: int) -> tuple[Space, Module] | None:
        """The module of the host's that *address* lies in, as a space sees it."""
        space = self.spaces[0] if self.spaces else None
        for h in self.hosted.values():
            low, high = h.file.span
            if space is not None and h.base + low <= address < h.base + high:
                known = space.ns.by_name.get(h.path)
                module = known or Module(h.file, h.path, -1)
                module.hosted, module.base = True, h.base
                return space, module
        return None


def program_headers(module: Module) -> tuple[int, int]:
    """Address and number of a mapped module's program headers."""
    file = module.file
    for s in file.loads:
        if s.offset <= file.phoff < s.offset + s.filesz:
            return module.base + file.phoff - s.offset + s.vaddr, file.phnum
    return 0, 0


def _arguments() -> tuple[int, int, int]:
    """argc, argv, envp as initialisers get them."""
    words = [os.fsencode(word) for word in getattr(sys, "orig_argv", None) or sys.argv]
    array = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    _arguments.keep = array  # type: ignore[attr-defined]
    environ = ctypes.c_size_t.in_dll(machine.libc, "environ").value
    return len(words), ctypes.addressof(array), environ


def _mark_startup(hosted: list[Hosted]) -> None:
    """What ld.so loaded before the program began: the program, LD_PRELOAD, and all they need."""
    names: dict[str, Hosted] = {}
    for h in hosted:
        for name in (h.path, h.path.rpartition("/")[2], h.file.soname):
            if name:
                names.setdefault(name, h)
    todo = [hosted[0]]
    todo += [
        names[n.rpartition("/")[2]]
        for n in os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
        if n.rpartition("/")[2] in names
    ]
    while todo:
        h = todo.pop()
        if not h.startup:
            h.startup = True
            todo += [names[n] for n in h.file.needed if n in names]


class Space:
    """One namespace of libraries in this process."""

    def __init__(
        self,
        process: Process,
        *,
        host: str = "program",
        model: str = "glibc",
        reporter: Reporter = QUIET,
        options: SearchOptions | None = None,
        label: str = "",
    ) -> None:
        if host not in HOSTS:
            raise ValueError(f"host is {host!r}; one of {', '.join(HOSTS)}")
        if model not in MODELS:
            raise ValueError(f"model is {model!r}; one of {', '.join(MODELS)}")
        self.process = process
        self.host = host
        self.label = label
        self.busy = False  # its tables are being changed (quiet.py)
        self.transient = False  # gone when it is empty: made by dlmopen of C, or closed
        self.maps: dict[Module, int] = {}
        self.finis: dict[Module, list[int]] = {}
        self.rows: dict[Module, tuple[bytes, bytes]] = {}  # of the tables for unwinders
        self.ifuncs: dict[int, int] = {}
        self.donors: dict[Module, machine.Donor] = {}
        self.descriptors: dict[Module, tuple[int, int]] = {}
        self.lazy: dict[Module, Any] = {}  # tables of slots that wait for their first call
        self.descriptors_of_files: dict[
            Module, int
        ] = {}  # sources without a path: a descriptor to map them from
        self.reasons: dict[Module, list[str]] = {}
        self.order = Order()
        self.initialised: set[Module] = set()  # whose termination functions are to run
        self.quick = True  # small libraries go the short way (elf/quick.py)
        self.plan: Any = None  # express.Plan; None: not yet, False: never
        self.hooks: Any = None  # inprocess_hooks.Hooks
        self.preloads: list[Module] = []  # LD_PRELOAD's part
        self.deferred: dict[
            Module, list[str]
        ] = {}  # RTLD_LAZYLOAD: what a module needs and has not been loaded
        self.thunks: dict[Module, tuple[int, int]] = {}  # code that watched slots lead to
        first = next(iter(process.hosted.values()))
        options = options or SearchOptions()
        options.model = model
        self.ns: Namespace = open_namespace(first.file, first.path, options, reporter)
        self.model = model
        if model != "glibc":
            # libc is the host's, and so are its rules and the places where its members are.
            self.ns.host_model = "glibc"
            self.ns.search.rules = HostRules(self.ns.search, is_hosted)
        self.ns.lazy = False
        self._add_hosted()
        self.opened = Opened(self.ns.modules)
        #: Lmid_t: 0 is the program's, as to ld.so; others have the first number that is free.
        taken = {space.lmid for space in process.spaces}
        self.lmid: int = 0 if host == "program" and 0 not in taken else 1
        while self.lmid in taken:
            self.lmid += 1
        process.spaces.append(self)

    def _add_hosted(self) -> None:
        """The modules that ld.so has loaded, as far as this space is to see them."""
        ns, process = self.ns, self.process
        scope = []
        for i, h in enumerate(process.hosted.values()):
            family = is_hosted(h.file.soname or h.path)
            python = (h.file.soname or "").startswith("libpython")
            if i and not family and self.host != "all" and not (python and self.host == "program"):
                continue
            module = self._hosted(h)
            if i == 0:
                ns.main = module
                if self.host == "libc":
                    continue
            if h.startup:
                scope.append(module)
        for module in ns.modules:
            module.needed = [ns.by_name[n] for n in module.file.needed if n in ns.by_name]
            module.init_index = 0
        ns.global_scope = Scope("global", tuple(scope))
        process.add_records(self, ns.modules)
        self.replace_functions(ns.modules)

    def _hosted(self, h: Hosted) -> Module:
        ns = self.ns
        module = Module(h.file, h.path, len(ns.modules))
        module.hosted = True
        module.base, module.tls_id, module.tls_offset = h.base, h.tls_id, h.tls_offset
        module.soname = h.file.soname
        module.is_libc_family = is_hosted(h.file.soname or h.path)
        ns.modules.append(module)
        for name in (h.path, h.file.soname):
            if name:
                module.aliases.add(name)
                ns.by_name.setdefault(name, module)
        if h.file.identity is not None and module.index:
            ns.by_identity[h.file.identity] = module
        if (h.file.soname or "").startswith("ld-linux"):
            ns.interp = module
        return module

    def replace_functions(self, modules: Iterable[Module]) -> None:
        """Our own functions instead of those of libc and ld.so that know nothing of our libraries."""
        for module in modules:
            if not module.is_libc_family:
                continue
            table = dynsym(module.file)
            for name, label in REPLACED.items():
                for index in table.named(name.encode()):
                    symbol = table.symbol(index)
                    if symbol.section != t.SHN_UNDEF:
                        self.ns.overrides[(module, index)] = self.process.code.label(label)

    # -- the state of modules ---------------------------------------------------------------------------

    def pending(self, module: Module) -> int:
        """How many destructors of thread-local objects the module has registered that have not run."""
        at = self.maps.get(module)
        return machine.read_word(at + _PENDING) if at else 0

    def bind_all(self) -> None:
        """Fill every slot that waits for its first call."""
        for table in self.lazy.values():
            table.bind_all()
        self.lazy.clear()

    def why_loaded(self, module: Module) -> list[str]:
        """Everything that keeps a module in memory, in words."""
        opened = self.opened
        reasons = []
        if module.hosted:
            return ["loaded by the system's dynamic linker, never closed by us"]
        count = opened.counts.get(module, 0)
        if count > 0:
            reasons.append(f"opened {count} time{'s' if count > 1 else ''}")
        reasons += self.reasons.get(module, [])
        if self.pending(module):
            reasons.append(
                f"{self.pending(module)} destructors of thread-local objects have not run"
            )
        for other in self.ns.modules:
            if module in other.needed and not other.hosted:
                reasons.append(f"needed by {other.path}")
            elif other is not module and module in opened.extra.get(other, ()):
                reasons.append(f"{other.path} is bound to its symbols")
        return reasons


_process: Process | None = None
#: Held while something is made that there is once in a process.
starting = threading.RLock()


def process() -> Process:
    """The one ``Process``, made when first asked for."""
    global _process  # noqa: PLW0603 - a process has one
    if _process is None:
        with starting:
            if _process is None:
                _process = Process()
    return _process


def _before_fork() -> None:
    """The child must not get what another thread has half made or half opened."""
    starting.acquire()
    if _process is not None:
        _process.lock.acquire()


def _after_fork_in_parent() -> None:
    if _process is not None:
        _process.lock.release()
    starting.release()


def _after_fork_in_child() -> None:
    global starting  # noqa: PLW0603
    starting = threading.RLock()
    if _process is not None:
        _process.lock = threading.RLock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


__all__ = ["HOSTS", "Process", "RtldError", "Space", "process", "program_headers", "span"]

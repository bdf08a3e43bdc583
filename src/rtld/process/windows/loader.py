"""Windows' loader at run time: where the linker, the tables of functions and what runs the code meet.

The loader at run time is that of ntdll (dlls/ntdll/loader.c, by its rules): what LoadLibrary maps it also binds, gives
thread-local data, and tells; what FreeLibrary no longer needs it tells, and takes away. Whatever calls the program is a
generator that yields ``Call``: the machine runs it.
"""

from __future__ import annotations

import os

from rtld.backends.windows.api import Api
from rtld.backends.windows.commandline import arguments_of
from rtld.backends.windows.paths import host_path, windows_name
from rtld.backends.windows.peb import Peb
from rtld.backends.windows.stubs import SLOT, StubDll
from rtld.backends.windows.system import System
from rtld.backends.windows.tables import BARE
from rtld.backends.windows.tables import names as table_names
from rtld.backends.windows.tables import table as table_of
from rtld.backends.windows.unwinding import tables
from rtld.errors import FormatError, NoSpace, TargetFault
from rtld.pe import types as t
from rtld.pe.exports import exports
from rtld.pe.file import PeFile
from rtld.pe.image import build_images, rights_of_pages
from rtld.pe.link import finish, load, open_namespace
from rtld.pe.load import follow, load_dll, run, symbol_text
from rtld.pe.windows import Windows, apisets_of, windows_for
from rtld.process.windows.datafiles import AS_DATA, DataFiles
from rtld.process.windows.delay import set_traps
from rtld.process.windows.lifecycle import PINNED, Lifecycle
from rtld.process.windows.names import Names
from rtld.process.windows.places import Places
from rtld.process.windows.supplied import StubExports, SuppliedSets, guest_crt
from rtld.process.windows.threadlocal import ThreadLocal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any

    from rtld.core.module import Problem
    from rtld.pe.module import PeModule, PeNamespace, Policies
    from rtld.process.windows.trace import Trace

    Task = Generator[Any, Any, Any]

_STUB_BASE = {"x86_64": 0x7_7000_0000, "i386": 0x7700_0000, "aarch64": 0x7_7000_0000}


class Loader(Places, Names, Lifecycle, ThreadLocal):
    """The modules of one process, and what LoadLibrary and its kin do with them.

    ``machine`` has addresses, memory and a CPU (``backends.windows.machine``, ``native``). A subclass starts something.
    """

    def __init__(
        self,
        machine: Any,
        file: PeFile,
        path: str,
        arguments: Sequence[str] = (),
        *,
        windows_dir: str | None = None,
        dll_path: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        strict: bool = False,
        policies: Policies | None = None,
        trace: Any = None,
        moved: bool = False,
        line: str | None = None,
        directory: str = "C:\\",
        process_id: int = 4,
        crt: str = "builtin",
        apisets: str | None = None,
    ) -> None:
        """*windows_dir*: where further system DLLs are; *strict*: stop at a function that nobody supplies; *trace*:
        a stream for what WINEDEBUG=+loaddll,+module,+imports would say; *moved*: no image at its preferred base; *line*,
        *directory*: the command line and the current directory, where another program has given them; *crt*: "guest" for
        the C libraries of the system (Wine's msvcrt.dll and ucrtbase.dll) in place of ours; *apisets*: the path of a schema.
        """
        Lifecycle.__init__(self)
        Names.__init__(self)
        ThreadLocal.__init__(self)
        self.arch = file.arch
        self.strict = strict
        self.trace: Trace | None = None
        if trace is not None:
            from rtld.process.windows.trace import Trace

            self.trace = Trace(self, trace)
        self.moved = moved
        self.machine = machine
        self.system = System(
            machine.guest, file.bits, [path, *arguments], environ=environ, heap=machine.heap,
            line=line, directory=directory, process_id=process_id,
        )  # fmt: skip
        own = windows_name(self.system, os.path.abspath(path))
        self.system.arguments[0] = own if line is None else arguments_of(line)[0]
        machine.system = self.system
        self.system.loader = self
        self.system.threads = machine
        self.stubs: dict[str, StubDll] = {}
        self.unknown: dict[str, int] = {}  # functions that nobody has: how often they were called
        self.live: list[PeModule] = []
        self.data_files = DataFiles(self)
        self._problems = 0
        if windows_dir is not None:
            windows = windows_for(file.arch, windows_dir, apisets=apisets)
        else:
            windows = Windows(apisets=SuppliedSets() if apisets is None else apisets_of(apisets))
        self.ns: PeNamespace = open_namespace(
            file, os.path.abspath(path), windows=windows, dll_path=dll_path, policies=policies,
            current=os.getcwd(),
        )  # fmt: skip
        self.ns.search.allowed = self.allowed
        self.ns.search.places.path = self.path_directories()
        guests = guest_crt(file.arch, windows_dir) if crt == "guest" else {}
        for name, path_of in guests.items():
            self.ns.search.supplied[name] = lambda p=path_of: PeFile(p)  # type: ignore[misc]
        self.supplied = tuple(name for name in table_names() if name not in guests)
        for number, name in enumerate(self.supplied):
            base = _STUB_BASE[file.arch] + 0x20_0000 * number
            self.ns.search.supplied[name] = lambda n=name, b=base: self._stub(n, b)  # type: ignore[misc]
        for number, name in enumerate(BARE, len(self.supplied)):
            base = _STUB_BASE[file.arch] + 0x20_0000 * number
            self.ns.search.lacking[name] = lambda n=name, b=base: self._stub(n, b)  # type: ignore[misc]
        load(self.ns, file, os.path.abspath(path), self, ("kernel32.dll",))
        finish(self.ns)
        self.main = self.ns.main
        self.failures = self._lacking(0)
        if not self.failures:
            self._commit(self.ns.modules)
            for module in self.live:  # what was there from the start stays
                module.references = PINNED
            self.peb = Peb(self.system, self.main, self.live)

    def _listed(self) -> None:
        self.peb.refresh(self.live, self.initialised)

    def _stub(self, name: str, base: int) -> PeFile:
        """The image of a table, when the DLL is wanted first."""
        table = table_of(name)
        assert table is not None
        stub = StubDll(name, table.functions.keys() | table.later, table.data, self.arch, base)
        self.stubs[name] = stub
        file = PeFile(stub.image, name=name)
        file.cache["exports"] = StubExports(file, stub, table.ordinals)
        return file

    # -- addresses --------------------------------------------------------------------------------

    def reserve(self, size: int, align: int, at: int | None = None) -> int:
        """Where an image goes: the loader's address space."""
        if at is not None and self.moved:
            raise NoSpace("images are to be moved")
        found: int = self.machine.reserve(size, align, at)
        return found

    def _lacking(self, since: int, known: int = 0) -> list[Problem]:
        """What keeps the modules from ``since`` on from being loaded, of the problems from ``known`` on: not what a table of ours lacks."""
        paths = {module.path for module in self.ns.modules[since:]}
        supplied = tuple(f" by {name} (error" for name in self.supplied)
        return [
            problem
            for problem in self.ns.problems[known:]
            if problem.fatal
            and problem.module in paths
            and not (problem.kind == "symbol" and any(s in problem.message for s in supplied))
        ]

    def _commit(self, modules: list[PeModule]) -> None:
        """Images into the program's memory, rights, slots of functions, thread-local slots."""
        before = len(self.ns.problems)
        build_images(self.ns, modules)
        if len(self.ns.problems) > before:
            raise TargetFault(str(self.ns.problems[-1].message))
        for module in modules:
            self.live.append(module)
            self._patch_missing(module)
            if self.ns.policies.delay == "trap":
                set_traps(self, module)
            self.machine.commit(module.base, memoryview(module.image))
            stub = self.stubs.get(module.path)
            if stub is not None:
                supplied = table_of(stub.name)
                assert supplied is not None
                for name, number in stub.slots.items():
                    self.machine.add_slot(
                        module.base + stub.code + SLOT * number, supplied.entry(name)
                    )
            for start, size, rights in rights_of_pages(module.file):
                self.machine.protect(module.base + start, size, rights)
            module.image = None
            self.give_tls(module)
        if self.trace is not None:
            self.trace.loaded(modules)

    def _patch_missing(self, module: PeModule) -> None:
        """A slot of its own for each import that no table has: it is told by name when it is called."""
        if module.table is None:
            return
        word = module.file.bits // 8
        for row, definer in enumerate(module.table.definer):
            if definer < 0:
                columns = module.table.imports
                owner = columns.descriptor.item(row)
                target = module.table.edges[owner].module
                ours = target is not None and target.path in self.stubs
                api = self._nobody(columns.descriptors[owner].dll, symbol_text(columns, row), ours)
                address = self.machine.new_slot(api)
                at = columns.slot.item(row)
                module.image[at : at + word] = memoryview(address.to_bytes(word, "little"))

    def _nobody(self, dll: str, name: str, ours: bool) -> Api:
        """*ours*: a table of ours stands for the DLL, and lacks the function."""

        def action(system: System) -> int:
            key = f"{dll}!{name}"
            self.unknown[key] = self.unknown.get(key, 0) + 1
            if not ours:  # Wine raises an exception here
                raise TargetFault(f"{key} has been called, and {dll} does not export it")
            if self.strict or (system.bits == 32 and convention == "stdcall"):
                raise TargetFault(f"{key} is not supplied")
            return system.fail(120)

        known = table_of(self.ns.search.complete(dll).lower())
        convention = known.convention if known is not None else "stdcall"
        return Api(dll, name, "", "p", convention, action)

    def _tell_call(self, module: PeModule, reason: int, reserved: int) -> None:
        if self.trace is not None:
            self.trace.called(module, reason, reserved)

    # -- LoadLibrary and its kin ------------------------------------------------------------------

    def load_library(self, name: str, flags: int = 0, *, ours: bool = False) -> Task:
        """(module, 0) or (None, Win32 error). *ours*: the name is a path of this computer, not one of the program's."""
        return (yield from self.locked(self._load(name, flags, ours=ours)))

    def _load(self, name: str, flags: int, *, ours: bool) -> Task:
        search = self.ns.search
        search.forget()
        search.places.current = os.getcwd() if ours else host_path(self.system, ".")
        search.places.path = self.path_directories()
        located = name if ours else self.locate(name)
        self._opening = os.path.realpath(name) if ours else ""
        if located is None:
            return None, 126
        if flags & AS_DATA:
            return self.data_files.open(located, flags)
        since, self._problems = len(self.ns.modules), len(self.ns.problems)
        self._search_as(flags, os.path.dirname(located.replace("\\", "/")))
        loaded = run(load_dll(self.ns, self, located, self.main, flags))
        self._search_as(0, "")
        if loaded.error is not None:
            self._forget(self.ns.modules[since:])
            return None, getattr(loaded.error, "code", 126)
        module: PeModule = loaded.module
        error = yield from self._settle(module, since, counted=True)
        return (None, error) if error else (module, 0)

    def _search_as(self, flags: int, directory: str) -> None:
        """The flags, and the directory of what is loaded by its path, hold for all that this loads."""
        self.ns.load_flags, self.ns.load_directory = flags, directory

    def _settle(self, module: PeModule, since: int, *, counted: bool) -> Task:
        """Commit what has been loaded from ``since`` on, and attach it; a Win32 error or 0. *counted*: the module has one reference more."""
        fresh = self.ns.modules[since:]
        lacking = self._lacking(since, self._problems)
        if lacking:
            self._forget(fresh)
            return 127 if lacking[0].kind == "symbol" else 126
        self._commit(fresh)
        for each in fresh:
            for need in self.needs(each):
                self.refer(need)
        if counted:
            self.refer(module)
        for each in fresh:
            if not each.references:  # a forwarder has led there
                self.refer(each)
        if fresh:
            self._listed()
        status = yield from self.attach(module)
        if status:
            yield from self._free(module.base)
        return t.dos_error(status)

    def reason(self) -> str:
        """What the last load has failed of, in words."""
        lacking = [p for p in self.ns.problems[self._problems :] if p.fatal]
        supplied = tuple(f" by {name} (error" for name in self.supplied)
        return "; ".join([str(p.message) for p in lacking if not any(s in p.message for s in supplied)][:3])  # fmt: skip

    def _forget(self, modules: list[PeModule]) -> None:
        """As if they had never been loaded; their numbers stay taken."""
        tables(self.system).forget()
        gone = set(modules)
        for module in modules:
            self.machine.unmap(module.base, module.file.span)
            if module in self.live:
                self.live.remove(module)
                self.peb.forget(module)
                self.take_tls(module)
            self.attached.discard(module)
            self.quiet.discard(module)
        self.initialised[:] = [m for m in self.initialised if m not in gone]
        indices: tuple[dict[Any, Any], ...] = self.ns.by_base, self.ns.by_name, self.ns.by_file
        for index in indices:
            for key in [k for k, v in index.items() if v in gone]:
                del index[key]
        numbers = {m.index for m in modules}
        for key in [k for k, v in self.ns.forwards.items() if v.module in gone or k[0] in numbers]:
            del self.ns.forwards[key]
        self._listed()

    def proc_address(self, handle: int, wanted: bytes | int) -> Task:
        """(address, 0) or (0, Win32 error) of a name or an ordinal; forwarders may load DLLs."""
        module = self.by_handle(handle) if handle else self.main
        if module is None:
            return 0, 126
        try:
            table = exports(module.file)
            index = table.by_ordinal(wanted) if isinstance(wanted, int) else (table.by_name(wanted) or (None,))[0]  # fmt: skip
            rva = table.functions.item(index) if index is not None else 0
        except FormatError:
            index = None
        if index is None:
            return 0, 182 if isinstance(wanted, int) else 127
        if not table.rva <= rva < table.rva + table.size:
            return (module.base + rva, 0) if rva < module.file.span else (0, 127)
        return (yield from self.locked(self._forwarded(module, index)))

    def _forwarded(self, module: PeModule, index: int) -> Task:
        since, self._problems = len(self.ns.modules), len(self.ns.problems)
        self._search_as(module.load_flags, os.path.dirname(module.path))
        end = run(follow(self.ns, self, None, module, index))
        self._search_as(0, "")
        if end.error:
            self._forget(self.ns.modules[since:])
            return 0, 127
        error = 0
        if len(self.ns.modules) > since:
            error = yield from self._settle(end.module, since, counted=False)
        return (0, error) if error else (end.module.base + end.rva, 0)

    # -- what the tables ask ----------------------------------------------------------------------

    def disable_thread_calls(self, handle: int) -> bool:
        """Refused for a module with thread-local data."""
        module = self.by_handle(handle)
        if module is None or module.tls_slot >= 0:
            return False
        self.quiet.add(module)
        return True

    def variable(self, dll: str, name: str) -> int:
        """The address of a variable that a table exports."""
        module = self.ns.by_base.get(dll)
        if module is not None and dll in self.stubs:
            return module.base + self.stubs[dll].places[name]
        at = self.system.cache.get(f"variable {name}")  # another C library of the tables asks
        if at is None:
            table = table_of(dll)
            assert table is not None
            size = table.data[name][self.system.bits == 64]
            at = self.system.cache[f"variable {name}"] = self.system.heap.allocate(size)
        return int(at)

    def protect(self, address: int, size: int, rights: int) -> int:
        """Change the rights of pages; what they were."""
        start, end = address & -4096, (address + size + 4095) & -4096
        before = self.region(address)[2]
        self.machine.protect(start, end - start, rights)
        return before

    def region(self, address: int) -> tuple[int, int, int, int]:
        """(start, end, rights, where its allocation begins) of pages alike."""
        page = address & -4096
        module = self.module_of(address)
        limit = module.base + module.file.span if module is not None else page + (1 << 20)
        low, high, rights = self.machine.alike(page, limit)
        return low, high, rights, module.base if module is not None else page

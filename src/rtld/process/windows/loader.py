"""Windows' loader at run time: where the linker, the tables of functions and what runs the code meet.

The loader at run time is that of ntdll (dlls/ntdll/loader.c, by its rules): what LoadLibrary maps it also binds, gives
thread-local data, and tells; what FreeLibrary no longer needs it tells, and takes away. Whatever calls the program is a
generator that yields ``Call``: the machine runs it.
"""

from __future__ import annotations

import os

from rtld.backends.windows import kernel32
from rtld.backends.windows.api import Api, Call
from rtld.backends.windows.commandline import arguments_of
from rtld.backends.windows.paths import windows_name
from rtld.backends.windows.peb import Peb
from rtld.backends.windows.stubs import SLOT, StubDll
from rtld.backends.windows.system import System
from rtld.backends.windows.tables import BARE
from rtld.backends.windows.tables import names as table_names
from rtld.backends.windows.tables import table as table_of
from rtld.backends.windows.unwinding import tables
from rtld.errors import FormatError, NoSpace, TargetFault, Unsupported
from rtld.pe import types as t
from rtld.pe.apiset import is_api_set
from rtld.pe.exports import exports
from rtld.pe.file import PeFile
from rtld.pe.image import build_images, rights_of
from rtld.pe.initterm import attach_order
from rtld.pe.link import finish, load, open_namespace
from rtld.pe.load import follow, load_dll, run, symbol_text
from rtld.pe.tls import tls_directory
from rtld.pe.windows import Windows, windows_for
from rtld.process.windows.datafiles import AS_DATA, DataFiles
from rtld.process.windows.delay import set_traps
from rtld.process.windows.places import Places
from rtld.process.windows.supplied import StubExports, SuppliedSets, guest_crt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any

    from rtld.backends.windows.threads import Thread
    from rtld.core.module import Problem
    from rtld.pe.module import PeModule, PeNamespace, Policies

    Task = Generator[Any, Any, Any]

_STUB_BASE = {"x86_64": 0x7_7000_0000, "i386": 0x7700_0000, "aarch64": 0x7_7000_0000}
_MOST_TLS = 64


class Loader(Places):
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
    ) -> None:
        """*windows_dir*: where further system DLLs are; *strict*: stop at a function that nobody supplies; *trace*:
        a stream for what WINEDEBUG=+loaddll,+module,+imports would say; *moved*: no image at its preferred base; *line*,
        *directory*: the command line and the current directory, where another program has given them; *crt*: "guest" for
        the C libraries of the system (Wine's msvcrt.dll and ucrtbase.dll) in place of ours.
        """
        self.arch = file.arch
        self.strict = strict
        self.trace = trace
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
        self.attached: list[PeModule] = []  # in the order of DLL_PROCESS_ATTACH
        self.quiet: set[PeModule] = set()  # DisableThreadLibraryCalls
        self.tls: list[PeModule | None] = []
        self.live: list[PeModule] = []
        self.data_files = DataFiles(self)
        self._closing = False
        self._problems = 0
        windows = (
            windows_for(file.arch, windows_dir)
            if windows_dir is not None
            else Windows(apisets=SuppliedSets())
        )
        self.ns: PeNamespace = open_namespace(
            file, os.path.abspath(path), windows=windows, dll_path=dll_path, policies=policies,
            current=os.getcwd(),
        )  # fmt: skip
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
            self.peb = Peb(self.system, self.main, self.live)

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

    def _lacking(self, since: int) -> list[Problem]:
        """What keeps the modules from ``since`` on from being loaded: not what a table of ours lacks."""
        paths = {module.path for module in self.ns.modules[since:]}
        supplied = tuple(f" by {name} (error" for name in self.supplied)
        return [
            problem
            for problem in self.ns.problems
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
            for section in module.file.sections:
                size = min(section.extent, module.file.span - section.address)
                if size > 0:
                    rights = rights_of(section.characteristics) or 1
                    self.machine.protect(module.base + section.address, size, rights)
            module.image = None
            self._tell_loaded(module)
            self._give_tls(module)

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

    # -- tracing ----------------------------------------------------------------------------------

    def _tell_loaded(self, module: PeModule) -> None:
        if self.trace is None:
            return
        digits = module.file.bits // 4
        for binding in self.ns.imports_of(module):
            if binding.definer is not None:
                table = module.table
                assert table is not None
                symbol = symbol_text(table.imports, binding.row)
                shown = f"Ordinal {binding.descriptor.dll}.{symbol[1:]}" if symbol[0] == "#" else f"{symbol} {binding.descriptor.dll}.{max(table.imports.hint.item(binding.row), 0)}"  # fmt: skip
                self.trace.write(f"trace:imports:import_dll --- {shown} = {binding.definer.base + binding.rva:0{digits}X}\n")  # fmt: skip
        kind = "builtin" if module.path in self.stubs else "native"
        self.trace.write(f'trace:loaddll:build_module Loaded L"{self.windows_path(module)}" at {module.base:0{digits}X}: {kind}\n')  # fmt: skip

    def _tell_call(self, module: PeModule, reason: int, reserved: int) -> None:
        if self.trace is not None:
            word = ("PROCESS_DETACH", "PROCESS_ATTACH", "THREAD_ATTACH", "THREAD_DETACH")[reason]
            digits = module.file.bits // 4
            self.trace.write(f'trace:module:MODULE_InitDLL ({module.base:0{digits}X} L"{module.base_name}",{word},{reserved:0{digits}X}) - CALL\n')  # fmt: skip

    # -- thread-local storage ---------------------------------------------------------------------

    def _give_tls(self, module: PeModule) -> None:
        """A slot for the module's data, its number where the module looks for it, a block for each thread."""
        directory = tls_directory(module.file)
        if (
            directory is None
            or not module.resolved
            or (self.attached and self.ns.policies.tls == "static-only")
        ):
            return
        if len(self.tls) == _MOST_TLS:
            raise TargetFault(f"more than {_MOST_TLS} modules with thread-local data")
        module.tls_slot = len(self.tls)
        self.tls.append(module)
        if directory.index:
            self.system.put(module.base + directory.index, module.tls_slot, 4)
        for thread in self.machine.threads:
            if thread.code is None:
                self._give_block(thread, module)

    def _give_block(self, thread: Any, module: PeModule) -> None:
        directory = tls_directory(module.file)
        assert directory is not None
        system = self.system
        pointer = thread.teb + (0x58 if system.bits == 64 else 0x2C)
        array = system.number(pointer)
        if not array:
            array = system.heap.allocate(_MOST_TLS * system.word)
            system.put(pointer, array)
        size = directory.end - directory.start
        block = system.heap.allocate(max(size + directory.zeros, 1))
        if size:
            system.memory.write(block, system.memory.read(module.base + directory.start, size))
        system.put(array + module.tls_slot * system.word, block)

    def _callbacks(self, module: PeModule, reason: int) -> Task:
        directory = tls_directory(module.file) if module.tls_slot >= 0 else None
        if directory is None:
            return
        if not directory.callbacks:
            return
        for rva in directory.callbacks:
            yield Call(module.base + rva, (module.base, reason, 0))

    def _dll_main(self, module: PeModule, reason: int, reserved: int) -> Task:
        """TLS callbacks, then DllMain; its result, 1 without one."""
        yield from self._callbacks(module, reason)
        if not module.file.entry or not module.file.is_dll:
            return 1
        self._tell_call(module, reason, reserved)
        result = yield Call(module.base + module.file.entry, (module.base, reason, reserved))
        return result & 0xFFFFFFFF

    # -- end and threads --------------------------------------------------------------------------

    def detach_process(self) -> Task:
        """DLL_PROCESS_DETACH for every DLL, the last attached first."""
        if self._closing:
            return
        self._closing = True
        yield from kernel32.fls_exit(self.system)
        for module in reversed(self.attached):
            yield from self._dll_main(module, t.DLL_PROCESS_DETACH, 1)
        yield from self._callbacks(self.main, t.DLL_PROCESS_DETACH)

    def new_thread(self, _start: int, _argument: int, _stack: int) -> Thread:
        """A thread of the program; its DLLs are told when it begins and ends."""
        raise Unsupported(
            "the program wants a thread, and threads of Windows code are only emulated"
        )

    def new_thread_of(self, _body: Task, _stack: int) -> Thread:
        """The same, of a thread that does what the generator says."""
        raise Unsupported(
            "the program wants a thread, and threads of Windows code are only emulated"
        )

    def new_task(self, _body: Task) -> Thread:
        """A thread that does what the generator says."""
        raise Unsupported("Windows code in this process has no threads of its own to be called in")

    @staticmethod
    def _start(start: int, argument: int) -> Task:
        return (yield Call(start, (argument,)))

    def _thread(self, body: Task) -> Task:
        for module in list(self.attached):
            if module not in self.quiet:
                yield from self._dll_main(module, t.DLL_THREAD_ATTACH, 0)
        yield from self._callbacks(self.main, t.DLL_THREAD_ATTACH)
        code = yield from body
        yield from self.detach_thread()
        return code

    def detach_thread(self) -> Task:
        """DLL_THREAD_DETACH, the last attached first."""
        yield from kernel32.fls_exit(self.system)
        for module in reversed(list(self.attached)):
            if module not in self.quiet:
                yield from self._dll_main(module, t.DLL_THREAD_DETACH, 0)
        yield from self._callbacks(self.main, t.DLL_THREAD_DETACH)

    # -- LoadLibrary and its kin ------------------------------------------------------------------

    def load_library(self, name: str, flags: int = 0) -> Task:
        """(module, 0) or (None, Win32 error)."""
        if flags & AS_DATA:
            return self.data_files.open(name, flags)
        since, self._problems = len(self.ns.modules), len(self.ns.problems)
        self._search_as(flags, os.path.dirname(name.replace("\\", "/")))
        loaded = run(load_dll(self.ns, self, name, self.main, flags))
        self._search_as(0, "")
        if loaded.error is not None:
            self._forget(self.ns.modules[since:])
            return None, getattr(loaded.error, "code", 126)
        module: PeModule = loaded.module
        error = yield from self._settle(module, since)
        if error:
            return None, error
        if module.references >= 0:
            module.references += 1
        return module, 0

    def _search_as(self, flags: int, directory: str) -> None:
        """The flags, and the directory of what is loaded by its path, hold for all that this loads."""
        self.ns.load_flags, self.ns.load_directory = flags, directory

    def _settle(self, module: PeModule, since: int) -> Task:
        """Commit and attach what has been loaded from ``since`` on; a Win32 error or 0."""
        fresh = self.ns.modules[since:]
        if not fresh:
            return 0
        lacking = self._lacking(since)
        if lacking:
            self._forget(fresh)
            return 127 if lacking[0].kind == "symbol" else 126
        self._commit(fresh)
        for each in fresh:
            for need in each.needed:
                if need.references >= 0:
                    need.references += 1  # type: ignore[attr-defined]
        self.peb.refresh(self.live)
        done = set(self.attached) | {self.main}
        for each in attach_order([module], done):
            if each in self.attached or each is self.main or not each.resolved:
                continue  # not resolved: it was mapped only (DONT_RESOLVE_DLL_REFERENCES), and stays so
            if not (yield from self._dll_main(each, t.DLL_PROCESS_ATTACH, 0)):
                yield from self._dll_main(each, t.DLL_PROCESS_DETACH, 0)
                yield from self._unload([m for m in fresh if m is not each], tell=True)
                self._forget([each])
                return 1114
            self.attached.append(each)
        return 0

    def reason(self) -> str:
        """What the last load has failed of, in words."""
        lacking = [p for p in self.ns.problems[self._problems :] if p.fatal]
        supplied = tuple(f" by {name} (error" for name in self.supplied)
        return "; ".join([str(p.message) for p in lacking if not any(s in p.message for s in supplied)][:3])  # fmt: skip

    def free_library(self, handle: int) -> Task:
        """One reference less; at none the DLL goes, and what only it needed."""
        module = self.by_handle(handle)
        if module is None or module.references < 0:
            return
        gone: list[PeModule] = []
        waiting = [module]
        while waiting:
            each = waiting.pop()
            if each.references < 0:
                continue
            each.references -= 1
            if each.references == 0 and each not in gone:
                gone.append(each)
                waiting += each.needed  # type: ignore[arg-type]
        yield from self._unload(gone, tell=True)

    def _unload(self, modules: list[PeModule], *, tell: bool) -> Task:
        for module in [m for m in reversed(self.attached) if m in modules]:
            if tell:
                yield from self._dll_main(module, t.DLL_PROCESS_DETACH, 0)
            self.attached.remove(module)
        self._forget(modules)

    def _forget(self, modules: list[PeModule]) -> None:
        """As if they had never been loaded; their numbers stay taken."""
        tables(self.system).forget()
        for module in modules:
            if module in self.live:
                self.live.remove(module)
                self.machine.unmap(module.base, module.file.span)
                if module.tls_slot >= 0:
                    self.tls[module.tls_slot] = None
            else:
                self.machine.unmap(module.base, module.file.span)
            indices: tuple[dict[Any, Any], ...] = (
                self.ns.by_base,
                self.ns.by_name,
                self.ns.by_file,
            )
            for index in indices:
                for key in [k for k, v in index.items() if v is module]:
                    del index[key]
            for key in [k for k, v in self.ns.forwards.items() if v.module is module or k[0] == module.index]:  # fmt: skip
                del self.ns.forwards[key]
        self.peb.refresh(self.live)

    def proc_address(self, handle: int, wanted: bytes | int) -> Task:
        """(address, 0) or (0, Win32 error) of a name or an ordinal; forwarders may load DLLs."""
        module = self.by_handle(handle) if handle else self.main
        if module is None:
            return 0, 126
        try:
            table = exports(module.file)
            index = table.by_ordinal(wanted) if isinstance(wanted, int) else (table.by_name(wanted) or (None,))[0]  # fmt: skip
        except FormatError:
            index = None
        if index is None:
            return 0, 182 if isinstance(wanted, int) else 127
        since = len(self.ns.modules)
        self._search_as(module.load_flags, os.path.dirname(module.path))
        end = run(follow(self.ns, self, None, module, index))
        self._search_as(0, "")
        if end.error:
            return 0, 127
        error = yield from self._settle(end.module, since)
        return (0, error) if error else (end.module.base + end.rva, 0)

    # -- what the tables ask ----------------------------------------------------------------------

    def by_handle(self, handle: int) -> PeModule | None:
        """The module at that base."""
        return next((m for m in self.live if m.base == handle), None)

    def loaded(self, name: str) -> PeModule | None:
        """A module by name, if it is loaded already."""
        base = self.ns.search.complete(name).rpartition("/")[2].lower()
        sets = self.ns.windows.apisets
        if is_api_set(base) and sets is not None:
            base = (sets.resolve(base, self.main.base_name) or base).lower()
        found = self.ns.by_base.get(base)
        return found if found in self.live else None

    def windows_path(self, module: PeModule) -> str:
        """A module's path as the program sees it."""
        if "/" not in module.path:  # supplied
            return f"C:\\windows\\system32\\{module.path}"
        return windows_name(self.system, module.path)

    def file_name(self, handle: int) -> str:
        """GetModuleFileName."""
        module = self.by_handle(handle) if handle else self.main
        return self.windows_path(module) if module is not None else ""

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

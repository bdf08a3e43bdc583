"""Windows DLLs as libraries: attributes are functions, in this process or on an emulated CPU. What ``rtld.dlopen`` of a DLL gives."""

from __future__ import annotations

import contextlib
import ctypes
import os

from rtld.backends.windows.machine_aarch64 import machine_for
from rtld.backends.windows.stubs import StubDll
from rtld.backends.windows.threads import Frame, Thread
from rtld.errors import RtldError, TargetFault, Unsupported
from rtld.pe.faults import CannotLoad
from rtld.pe.file import PeFile
from rtld.pe.types import LOAD_WITH_ALTERED_SEARCH_PATH
from rtld.process.windows.functions import Caller, EmulatedFunction
from rtld.process.windows.loader import Loader
from rtld.process.windows.native_functions import native_callback, native_function
from rtld.process.windows.types import Function as FunctionPointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Self

    from rtld.backends.windows.machine import Machine
    from rtld.pe.module import PeModule
    from rtld.pe.search import Places
    from rtld.process.windows.native import NativeProcess

_MOST_INSIDE = 32  # each takes some twenty of Python's own 1000


class Closed(RtldError):
    """A DLL, or a function of one, was used after it was closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"{self.name} has been closed"


class WindowsLibrary:
    """A DLL that is loaded. ``lib.name`` and ``lib["name"]`` or ``lib[ordinal]`` are its functions."""

    def __init__(self, process: Any, module: PeModule) -> None:
        self._process = process
        self._module = module
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._module.path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> str:
        return self._module.path

    @property
    def handle(self) -> int:
        """HMODULE: where it is loaded."""
        return self._module.base

    def address(self, name: str | int) -> int:
        """GetProcAddress. CannotLoad."""
        if self._closed:
            raise Closed(self._module.path)
        found: int = self._process.address(self._module, name)
        if not found:
            code = 182 if isinstance(name, int) else 127
            raise CannotLoad(f"{self._module.path}: {name}", code)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            function = self[name]
        except CannotLoad as error:
            raise AttributeError(str(error)) from None
        setattr(self, name, function)
        return function

    def __getitem__(self, name: str | int) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """FreeLibrary."""
        if not self._closed:
            self._closed = True
            self._process.close(self._module)


class NativeLibrary(WindowsLibrary):
    """In this process: the DLL's machine code runs here, with all that means."""

    _process: NativeProcess

    def __getitem__(self, name: str | int) -> Any:
        address = self.address(name)
        return native_function(self._process.machine, address)

    def function(self, address: int, _name: str = "") -> Any:
        """What can be called at an address: that of a function pointer, say."""
        return native_function(self._process.machine, address)

    def callback(self, function: Any, kind: Any = None) -> int:
        """The address by which the DLL can call a function of ctypes, or a Python function (*kind*: its CFUNCTYPE)."""
        if kind is None and not isinstance(function, FunctionPointer):
            raise TypeError("a Python function needs its type: callback(function, CFUNCTYPE(...))")
        return native_callback(self._process.machine, function, kind or type(function))

    def read(self, address: int, size: int) -> bytes:
        """Bytes of this process."""
        return ctypes.string_at(address, size)


# -- emulated -------------------------------------------------------------------------------------


class EmulatedProcess(Loader):
    """What plays the Windows process of DLLs on an emulated CPU."""

    machine: Machine
    _depth = 0

    def __init__(self, arch: str, **options: Any) -> None:
        stub = StubDll("python.exe", (), {}, arch, 0x40_0000 if arch == "i386" else 0x7_6000_0000)
        file = PeFile(stub.image, name="python.exe")
        super().__init__(machine_for(arch), file, "python.exe", **options)
        self._caller: Thread | None = None
        self.caller = Caller(self)

    def finish(self, task: Generator[Any, Any, Any]) -> Any:
        """Run a generator of effects on the CPU, to its result."""
        result: list[Any] = []

        def body() -> Generator[Any, Any, Any]:
            result.append((yield from task))
            return 0

        thread = self._caller
        if thread is None:
            thread = self._caller = self.machine.new_thread(self.peb.address, body())
            self.give_blocks(thread)
            self._run(thread)
        elif self._depth:
            self._run_inside(thread, body())
        else:
            thread.frames[:] = [Frame(body(), None, thread.sp)]
            thread.code = thread.context = thread.wait = None
            self.machine.unhandled = ""
            status = self._run(thread)
            if not result:
                reason = self.machine.unhandled or f"the process has ended with status {status:#x}"
                raise TargetFault(reason)
        return result[0]

    def _run(self, thread: Thread) -> int:
        """The status with which the process has ended, if it has."""
        self._depth += 1
        try:
            return self.machine.run(thread)
        finally:
            self._depth -= 1

    def _run_inside(self, thread: Thread, body: Generator[Any, Any, Any]) -> None:
        """A call while the thread waits for a callback: its stack goes on below, and all is as it was afterwards."""
        if self._depth >= _MOST_INSIDE:
            raise TargetFault(f"more than {_MOST_INSIDE} calls into the program inside one another")
        engine, cpu = self.machine.engine, self.machine.cpu
        registers, outer, sp = engine.save(), thread.frames, thread.sp
        thread.sp = engine.get(cpu.sp) - 512 & -16
        thread.frames = [Frame(body, None, thread.sp)]
        try:
            self._run(thread)
        finally:
            thread.frames, thread.sp, thread.code = outer, sp, None
            thread.context = thread.wait = thread.pc = None
            self.machine.current = thread
            engine.restore(registers)

    def open(self, name: str, flags: int = 0) -> PeModule:
        """LoadLibraryEx. CannotLoad."""
        module, error = self.finish(self.load_library(name, flags, ours=True))
        if module is None:
            raise CannotLoad(name, error, self.reason())
        return module  # type: ignore[no-any-return]

    def address(self, module: PeModule, name: str | int) -> int:
        """GetProcAddress; 0 when there is none."""
        wanted = name.encode() if isinstance(name, str) else name
        return int(self.finish(self.proc_address(module.base, wanted))[0])

    def close(self, module: PeModule) -> None:
        """FreeLibrary."""
        self.finish(self.free_library(module.base))

    def new_thread(self, start: int, argument: int, stack: int) -> Thread:
        """A thread of a DLL: it runs while functions are called."""
        size = stack or 1 << 20
        thread = self.machine.new_thread(
            self.peb.address, self._thread(self._start(start, argument)), size
        )
        self.give_blocks(thread)
        return thread


class EmulatedLibrary(WindowsLibrary):
    """On an emulated CPU: what it does wrong, it does there."""

    def __getitem__(self, name: str | int) -> Any:
        return EmulatedFunction(self._process.caller, self.address(name), str(name))

    def function(self, address: int, name: str = "") -> EmulatedFunction:
        """What can be called at an address: that of a function pointer, say."""
        return EmulatedFunction(self._process.caller, address, name)

    def callback(self, function: Any, kind: Any = None, *, convention: str = "cdecl") -> int:
        """The address by which the DLL can call a function of ctypes, or a Python function (*kind*: its CFUNCTYPE)."""
        if isinstance(function, EmulatedFunction):
            return function.address
        if kind is None and not isinstance(function, FunctionPointer):
            raise TypeError("a Python function needs its type: callback(function, CFUNCTYPE(...))")
        address: int = self._process.caller.callback_for(function, kind, convention, kept=True)
        return address

    def read(self, address: int, size: int) -> bytes:
        """The program's bytes."""
        return bytes(self._process.machine.guest.read(address, size))


class Directories:
    """What AddDllDirectory and its kin say, of all processes of Python's."""

    def __init__(self) -> None:
        self.user: dict[int, str] = {}  # cookie -> directory
        self.instead: str | None = None
        self.default_flags = 0
        self._cookies = 0

    def give(self, places: Places) -> None:
        """Of a process that is new: the newest directory first."""
        places.user = list(reversed(self.user.values()))
        places.instead = self.instead
        places.default_flags = self.default_flags

    def add(self, directory: str) -> int:
        """The cookie."""
        self._cookies += 1
        self.user[self._cookies] = directory
        for places in _all_places():
            places.user.insert(0, directory)
        return self._cookies

    def remove(self, cookie: int) -> bool:
        """False: there is none like that."""
        directory = self.user.pop(cookie, None)
        if directory is None:
            return False
        for places in _all_places():
            places.user.remove(directory)
        return True

    def set_instead(self, directory: str | None) -> None:
        """SetDllDirectory."""
        self.instead = directory
        for places in _all_places():
            places.instead = directory

    def set_default_flags(self, flags: int) -> None:
        """SetDefaultDllDirectories."""
        self.default_flags = flags
        for places in _all_places():
            places.default_flags = flags


directories = Directories()
_emulated: dict[str, EmulatedProcess] = {}


def _process(arch: str, *, native: bool) -> tuple[Any, type[WindowsLibrary]]:
    """The process of a CPU, made when it is wanted first, and the type of its libraries."""
    if native:
        from rtld.process.windows import native as here

        if here._process is None:
            directories.give(here.native_process().ns.search.places)
        return here.native_process(), NativeLibrary
    if arch not in _emulated:
        _emulated[arch] = EmulatedProcess(arch, dll_path=[os.getcwd()])
        directories.give(_emulated[arch].ns.search.places)
    return _emulated[arch], EmulatedLibrary


def open_library(
    path: str, flags: int = LOAD_WITH_ALTERED_SEARCH_PATH, *, native: bool = False
) -> WindowsLibrary:
    """A DLL by its path. ``native``: in this process, if it is for x86-64.

    OSError, FormatError for the file itself; CannotLoad for what it needs.
    """
    full = os.path.abspath(path)
    with contextlib.closing(PeFile(full)) as file:
        arch = file.arch
        if native and arch != "x86_64":
            raise Unsupported(f"{path}: its code is for {arch or hex(file.machine)}", "without native=True it is emulated")  # fmt: skip
        if not arch:
            raise Unsupported(f"{path}: its code is for {hex(file.machine)}")
    process, kind = _process(arch, native=native)
    return kind(process, process.open(full, flags))


def open_supplied(name: str, flags: int = 0, *, native: bool = False) -> WindowsLibrary:
    """A DLL that stands in no directory, by its base name: one of the tables. CannotLoad."""
    process, kind = _process("x86_64", native=native)
    return kind(process, process.open(name, flags))


def _all_processes(*, native: bool | None = None) -> list[tuple[Any, type[WindowsLibrary]]]:
    """Those that there are; this process, if it runs Windows code, comes last. *native*: only that, or only the others."""
    from rtld.process.windows import native as here

    result: list[tuple[Any, type[WindowsLibrary]]] = []
    if not native:
        result += [(process, EmulatedLibrary) for process in _emulated.values()]
    if native is not False and here._process is not None:
        result.append((here._process, NativeLibrary))
    return result


def _all_places() -> list[Places]:
    return [process.ns.search.places for process, _ in _all_processes()]


def loaded_library(name: str, *, native: bool | None = None) -> WindowsLibrary | None:
    """A DLL by its base name, if one of the processes has it."""
    for process, kind in _all_processes(native=native):
        module = process.loaded(name)
        if module is not None:
            return kind(process, module)
    return None


def library_at(address: int | None, *, native: bool | None = None) -> WindowsLibrary | None:
    """The module that an address is in, in the first process that has one; None: the program itself."""
    if address is None:
        there = _all_processes(native=native)
        process, kind = there[0] if there else _process("x86_64", native=bool(native))
        return kind(process, process.main)
    for process, kind in _all_processes(native=native):
        module = process.module_of(address)
        if module is not None:
            return kind(process, module)
    return None

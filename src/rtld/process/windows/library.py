"""Windows DLLs as libraries: attributes are functions, in this process or on an emulated CPU. What ``rtld.dlopen`` of a DLL gives."""

from __future__ import annotations

import contextlib
import ctypes
import os

from rtld.backends.windows.api import Call
from rtld.backends.windows.machine import Machine
from rtld.backends.windows.stubs import StubDll
from rtld.backends.windows.threads import Frame, Thread
from rtld.errors import RtldError, TargetFault, Unsupported
from rtld.pe.faults import CannotLoad
from rtld.pe.file import PeFile
from rtld.pe.types import LOAD_WITH_ALTERED_SEARCH_PATH
from rtld.process.windows.loader import Loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Self

    from rtld.pe.module import PeModule
    from rtld.process.windows.native import NativeProcess

_CDECL = 1
_UNIVERSAL = (
    "i" * 12
)  # so many integers may be given to a function whose arguments nobody has declared
_REALS = (ctypes.c_double, ctypes.c_float)


class Closed(RtldError):
    """A DLL, or a function of one, was used after it was closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"{self.name} has been closed"


def signature_of(types: Any) -> str:
    """ "i" and "d" of ctypes types. Unsupported for structures by value, which Windows passes differently."""
    result = ""
    for each in types:
        if isinstance(each, type) and issubclass(each, ctypes.Structure | ctypes.Union):
            raise Unsupported(f"{each.__name__} by value", "pass a pointer, as Windows does for structures above 8 bytes")  # fmt: skip
        result += "d" if each in _REALS else "i"
    return result


class Function(ctypes._CFuncPtr):  # type: ignore[name-defined,misc]
    """A function of a DLL as ctypes has them. ``argtypes`` must be set where there are doubles."""

    _flags_ = _CDECL
    _restype_ = ctypes.c_int

    @property
    def argtypes(self) -> Any:
        return ctypes._CFuncPtr.argtypes.__get__(self)  # type: ignore[attr-defined]

    @argtypes.setter
    def argtypes(self, types: Any) -> None:
        machine, address = self.__dict__["target"]
        thunk = machine.callable(address, signature_of(types))
        ctypes.c_size_t.from_address(ctypes.addressof(self)).value = thunk
        ctypes._CFuncPtr.argtypes.__set__(self, types)  # type: ignore[attr-defined]


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
        function = Function(self._process.machine.callable(address, _UNIVERSAL))
        function.target = self._process.machine, address
        return function

    def callback(self, function: Any) -> int:
        """The address by which the DLL can call a function of ctypes (an instance of a CFUNCTYPE)."""
        return self._process.machine.callback(function, signature_of(function._argtypes_))


# -- emulated -------------------------------------------------------------------------------------


class EmulatedProcess(Loader):
    """What plays the Windows process of DLLs on an emulated CPU."""

    machine: Machine

    def __init__(self, arch: str, **options: Any) -> None:
        stub = StubDll("python.exe", (), {}, arch, 0x40_0000 if arch == "i386" else 0x7_6000_0000)
        file = PeFile(stub.image, name="python.exe")
        super().__init__(Machine(arch), file, "python.exe", **options)
        self.main.references = -1
        self._caller: Thread | None = None

    def finish(self, task: Generator[Any, Any, Any]) -> Any:
        """Run a generator of effects on the CPU, to its result."""
        result: list[Any] = []

        def body() -> Generator[Any, Any, Any]:
            result.append((yield from task))
            return 0

        thread = self._caller
        if thread is None:
            thread = self._caller = self.machine.new_thread(self.peb.address, body())
            for module in self.tls:
                if module is not None:
                    self._give_block(thread, module)
        else:
            thread.frames[:] = [Frame(body(), None, thread.sp)]
            thread.code = thread.context = thread.wait = None
        self.machine.unhandled = ""
        status = self.machine.run(thread)
        if not result:
            reason = self.machine.unhandled or f"the process has ended with status {status:#x}"
            raise TargetFault(reason)
        return result[0]

    def open(self, name: str, flags: int = 0) -> PeModule:
        """LoadLibraryEx. CannotLoad."""
        module, error = self.finish(self.load_library(name, flags))
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

    def call(self, address: int, arguments: list[int]) -> int:
        """Call a function; what it returned."""

        def body() -> Generator[Any, Any, Any]:
            return (yield Call(address, tuple(arguments), "cdecl"))

        return int(self.finish(body()))


class EmulatedFunction:
    """A function on the emulated CPU. Integers, bytes (copied there), bytearrays and objects of ctypes (and back)."""

    def __init__(self, process: EmulatedProcess, address: int) -> None:
        self._process = process
        self._address = address
        self.restype: Any = ctypes.c_int
        self.argtypes: Any = None

    def __call__(self, *arguments: Any) -> Any:
        memory, heap = self._process.machine.guest, self._process.system.heap
        values: list[int] = []
        back: list[tuple[Any, int, int]] = []
        copies = []
        for argument in arguments:
            if argument is None:
                values.append(0)
            elif isinstance(argument, int):
                values.append(argument)
            elif isinstance(argument, ctypes._SimpleCData) and isinstance(argument.value, int):
                values.append(argument.value)
            else:
                data = argument + b"\0" if isinstance(argument, bytes) else _bytes_of(argument)
                at = heap.allocate(len(data))
                copies.append(at)
                memory.write(at, data)
                values.append(at)
                if not isinstance(argument, bytes):
                    back.append((argument, at, len(data)))
        result = self._process.call(self._address, values)
        for argument, at, size in back:
            memoryview(getattr(argument, "_obj", argument)).cast("B")[:] = memory.read(at, size)
        for at in copies:
            heap.free(at)
        return self._result(result)

    def _result(self, value: int) -> Any:
        kind = self.restype
        if kind is None:
            return None
        if kind is ctypes.c_char_p:
            return self._process.system.text(value)
        return kind(value & (1 << 8 * ctypes.sizeof(kind)) - 1).value


def _bytes_of(argument: Any) -> bytes:
    """What an argument has in memory. TypeError for what has nothing there."""
    argument = getattr(argument, "_obj", argument)  # byref
    try:
        return bytes(memoryview(argument).cast("B"))
    except TypeError:
        kind = type(argument).__name__
        raise TypeError(f"a {kind} cannot be given to an emulated function") from None


class EmulatedLibrary(WindowsLibrary):
    """On an emulated CPU: what it does wrong, it does there."""

    def __getitem__(self, name: str | int) -> Any:
        return EmulatedFunction(self._process, self.address(name))

    def read(self, address: int, size: int) -> bytes:
        """The program's bytes."""
        return bytes(self._process.machine.guest.read(address, size))


_emulated: dict[str, EmulatedProcess] = {}


def open_library(
    path: str, flags: int = LOAD_WITH_ALTERED_SEARCH_PATH, *, native: bool = False
) -> WindowsLibrary:
    """A DLL by its path, or by the name of one beside the program. ``native``: in this process, if it is for x86-64.

    OSError, FormatError for the file itself; CannotLoad for what it needs.
    """
    full = os.path.abspath(path)
    if native:
        from rtld.process.windows.native import native_process

        process = native_process()
        with contextlib.closing(PeFile(full)) as file:
            if file.arch != "x86_64":
                raise Unsupported(f"{path}: its code is for {file.arch or hex(file.machine)}", "without native=True it is emulated")  # fmt: skip
        return NativeLibrary(process, process.open(full, flags))
    with contextlib.closing(PeFile(full)) as file:
        arch = file.arch
    if arch not in _emulated:
        _emulated[arch] = EmulatedProcess(arch, dll_path=[os.getcwd()])
    return EmulatedLibrary(_emulated[arch], _emulated[arch].open(full, flags))

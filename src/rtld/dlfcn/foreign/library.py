"""``ForeignLibrary``: a library of another CPU that is loaded, with the face of ``Library``."""

from __future__ import annotations

import difflib

from rtld.dlfcn.foreign.cdef import Types, Variadic
from rtld.dlfcn.foreign.function import ForeignFunction
from rtld.dlfcn.foreign.observe import Coverage, MemoryWatch, on_call
from rtld.dlfcn.library import SymbolNotFound
from rtld.dlfcn.names import exported, is_plain
from rtld.dlfcn.opened import Closed, Opened
from rtld.errors import UnresolvedSymbol
from rtld.process.foreign.pointer import GuestPointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from rtld.core.module import Module
    from rtld.dlfcn.foreign.namespace import ForeignNamespace


class ForeignLibrary(Opened):
    """A loaded library. Attributes are its functions; ``lib["name"]`` is the same, never remembered."""

    def __init__(
        self, namespace: ForeignNamespace, module: Module, *, use_errno: bool = False
    ) -> None:
        self._namespace = namespace
        self._module: Module | None = module
        self._name = module.path
        self._use_errno = use_errno
        self._types: Types | None = None
        self._declared: dict[str, tuple[Any, Any]] = {}
        self._functions: list[ForeignFunction] = []

    def __repr__(self) -> str:
        if self._module is None:
            return f"<ForeignLibrary {self._name}: closed>"
        return f"<ForeignLibrary {self._name} at {self._module.base:#x} of {self._namespace.cpu}>"

    @property
    def namespace(self) -> ForeignNamespace:
        """The emulated CPU with everything that is loaded there."""
        return self._namespace

    @property
    def modules(self) -> list[Module]:
        """Itself and all it needs, in the order they are searched."""
        return self._namespace.world.scope(self.module)

    @property
    def needed(self) -> list[str]:
        """The paths of the libraries it needs directly."""
        return [module.path for module in self.module.needed]

    # -- symbols --------------------------------------------------------------------------------------

    def symbols(self) -> list[str]:
        """The names it defines and offers, sorted."""
        return exported(self.module.file)

    def __dir__(self) -> list[str]:
        own = [*object.__dir__(self)]
        return own if self._module is None else [*own, *self.symbols()]

    def address(self, name: str, version: str | None = None) -> int:
        """The guest's address of a symbol, looked up in the library and what it needs. SymbolNotFound."""
        module = self.module
        try:
            return self._namespace.world.symbol(module, name, version)
        except UnresolvedSymbol:
            near = tuple(difflib.get_close_matches(name, self.symbols(), 3, 0.75))
            raise SymbolNotFound(module.path, name, version, near) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        function = self[name]
        self.__dict__[name] = function
        return function

    def __getitem__(self, name: str) -> ForeignFunction:
        function = self._function(name, None)
        declared = self._declared.get(name)
        if declared is not None:
            _declare(function, declared)
        return function

    def _function(self, name: str, version: str | None) -> ForeignFunction:
        guest = self._namespace.guest
        address = self.address(name, version)
        function = ForeignFunction(guest, address, name, use_errno=self._use_errno)
        self._functions.append(function)
        return function

    def function(
        self, name: str, restype: Any, *argtypes: Any, version: str | None = None
    ) -> ForeignFunction:
        """A function with its types said at once."""
        function = self._function(name, version)
        function.restype, function.argtypes = restype, argtypes
        return function

    def data(self, name: str, kind: Any) -> GuestPointer:
        """A variable: ``.value`` and ``[i]`` read and write it where it stands; of a TLS variable the main thread's."""
        return GuestPointer(self._namespace.guest.converter, self.address(name), kind)

    def cdef(self, text: str) -> Self:
        """Declare functions and types in C; functions get their types from then on. Needs the extra ``cdef``."""
        if self._types is None:
            self._types = Types(self._namespace.guest.converter.types.model.word)
        for name, types in self._types.read(text).items():
            self._declared[name] = types
            function = self.__dict__.get(name)
            if function is not None:
                _declare(function, types)
        return self

    @property
    def types(self) -> dict[str, Any]:
        """Structures and unions that ``cdef`` has declared, by name."""
        return dict(self._types.records) if self._types is not None else {}

    # -- memory ---------------------------------------------------------------------------------------

    def alloc(self, size: int | bytes | bytearray) -> GuestPointer:
        """Memory of the guest's own, of so many zeros or with these bytes, for what it keeps. ``free`` gives it back."""
        import ctypes

        data = bytes(size)
        address = self._namespace.alloc(len(data))
        self._namespace.guest.write(address, data)
        return GuestPointer(self._namespace.guest.converter, address, ctypes.c_ubyte)

    def free(self, memory: GuestPointer | int) -> None:
        """Give back what ``alloc`` gave."""
        self._namespace.free(int(memory))

    def read(self, address: int | GuestPointer, size: int) -> bytes:
        """The guest's bytes there. TargetFault."""
        return self._namespace.guest.read(int(address), size)

    def write(self, address: int | GuestPointer, data: bytes) -> None:
        """Change the guest's bytes."""
        self._namespace.guest.write(int(address), data)

    def string(self, address: int | GuestPointer) -> bytes:
        """The bytes up to a NUL."""
        return self._namespace.guest.string(int(address), 1)

    def callback(self, function: Callable[..., Any], restype: Any, *argtypes: Any) -> GuestPointer:
        """A Python function as a C function that the guest may keep: it is there until the CPU is closed."""
        guest = self._namespace.guest
        return GuestPointer(guest.converter, guest.keep_callback(function, restype, argtypes), None)

    # -- its view of others ---------------------------------------------------------------------------

    def interpose(self, name: str, function: Any) -> Callable[[], None]:
        """Lead this library's own references to *name* to a Python function, to a function of the guest or an address; call the
        result to undo it. A Python function's types are those of ctypes' CFUNCTYPE, or those that ``cdef`` has declared.
        """
        from rtld.process.foreign.hooks import interpose

        namespace = self._namespace
        types = self._declared.get(name)
        if types is not None and is_plain(function):
            function = namespace.guest.keep_callback(function, types[0], types[1] or ())
        return interpose(namespace.world, namespace.guest, self.module, name, function)

    # -- what happens inside --------------------------------------------------------------------------

    def coverage(self) -> Coverage:
        """``with lib.coverage() as seen``: which functions of this machine's libraries run, and how often they are entered."""
        return Coverage(self._namespace)

    def watch(self, address: int | GuestPointer, size: int) -> MemoryWatch:
        """``with lib.watch(p, 8) as accesses``: a list of every access to that memory."""
        return MemoryWatch(self._namespace, int(address), size)

    def on_call(self, name: str, handler: Callable[..., Any]) -> Callable[[], None]:
        """Call *handler* with the arguments of every call of a function, as its ``argtypes`` say; call the result to end it."""
        return on_call(self._namespace, self[name], handler)

    # -- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give this opening back. Done once; functions taken from it raise ``Closed`` from now on."""
        if self._module is None:
            return
        module, self._module = self._module, None
        for function in self._functions:
            function.close(Closed(f"{self._name}: {function.__name__}"))
            self.__dict__.pop(function.__name__, None)
        self._functions.clear()
        self._namespace.close_library(module)


def _declare(function: ForeignFunction, types: tuple[Any, Any]) -> None:
    function.restype, function.argtypes = types
    function.variadic = isinstance(types[1], Variadic)

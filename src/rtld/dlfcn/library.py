"""``Library``: a library that is loaded, with its functions as ctypes has them."""

from __future__ import annotations

import ctypes
import weakref

from rtld.dlfcn.flags import RTLD_FIRST
from rtld.dlfcn.names import exported, is_plain
from rtld.dlfcn.opened import Closed, Opened
from rtld.errors import UnresolvedSymbol
from rtld.process.inprocess import calls
from rtld.process.inprocess.express import symbol_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from rtld.core.module import Module
    from rtld.dlfcn.namespace import Namespace

_CDECL = 0x1
_USE_ERRNO = 0x8


class SymbolNotFound(UnresolvedSymbol, AttributeError):
    """A library has no such symbol. ``near`` are names it has that look alike."""

    def __init__(
        self, path: str, symbol: str, version: str | None = None, near: tuple[str, ...] = ()
    ) -> None:
        super().__init__(path, symbol, version)
        self.near = near

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}; did you mean {' or '.join(self.near)}?" if self.near else text


class Function(ctypes._CFuncPtr):  # type: ignore[name-defined,misc]
    """A function of a library: what ``ctypes.CDLL`` gives, ``int`` its result until ``restype`` says otherwise.

    While it raises ``Closed``, ``before`` has its restype and errcheck.
    """

    _flags_ = _CDECL
    _restype_ = ctypes.c_int


class FunctionWithErrno(ctypes._CFuncPtr):  # type: ignore[name-defined,misc]
    """The same, with a copy of errno for ``ctypes.get_errno``."""

    _flags_ = _CDECL | _USE_ERRNO
    _restype_ = ctypes.c_int


def _point(function: Any, address: int) -> None:
    """Lead a function of ctypes somewhere else: the object holds nothing but the address."""
    ctypes.c_size_t.from_address(ctypes.addressof(function)).value = address


class Library(Opened):
    """A loaded library. Attributes are its functions; ``lib["name"]`` is the same, never remembered.

    Closing gives this opening back; the library is unmapped when nothing else keeps it (``why_loaded``). Functions that
    were taken from it raise ``Closed`` afterwards.
    """

    def __init__(
        self, namespace: Namespace, module: Module, source: Any, options: dict[str, Any]
    ) -> None:
        self._namespace = namespace
        self._module: Module | None = module
        self._source = source
        self._options = options
        self._name = module.path
        # By id: functions of ctypes cannot be hashed.
        self._functions: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._kind = FunctionWithErrno if options.get("use_errno") else Function
        self._declared: dict[str, tuple[Any, Any]] = {}

    # -- what it is -----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        if self._module is None:
            return f"<Library {self._name}: closed>"
        size = self._module.file.span[1] - self._module.file.span[0]
        where = f" in {self._namespace!r}" if self._namespace.name else ""
        return f"<Library {self._name} at {self._module.base:#x}, {size:#x} bytes{where}>"

    @property
    def namespace(self) -> Namespace:
        """The namespace it was opened in."""
        return self._namespace

    @property
    def handle(self) -> int:
        """What dlopen(3) gives to libraries loaded by us: the address of a struct link_map."""
        return self._namespace._space.maps[self.module]

    @property
    def modules(self) -> list[Module]:
        """Itself and all it needs, in the order they are searched."""
        return list(calls.scope_of_handle(self._namespace._space, self.module))

    @property
    def needed(self) -> list[str]:
        """The paths of the libraries it needs directly."""
        return [module.path for module in self.module.needed]

    def why_loaded(self) -> list[str]:
        """Everything that keeps it in memory, in words."""
        return self._namespace._space.why_loaded(self.module)

    def info(self) -> dict[str, Any]:
        """What dlinfo(3) tells."""
        from rtld.process.inprocess.space import program_headers

        space, module = self._namespace._space, self.module
        phdr, phnum = program_headers(module)
        return {
            "lmid": space.lmid,
            "linkmap": space.maps[module],
            "origin": calls.origin_of(module),
            "serinfo": list(space.ns.search.default_directories),
            "phdr": phdr,
            "phnum": phnum,
            "tls_modid": module.tls_id,
            "tls_data": calls.tls_data(module),
        }

    # -- symbols ----------------------------------------------------------------------------------------

    def symbols(self) -> list[str]:
        """The names it defines and offers, sorted."""
        return exported(self.module.file)

    def __dir__(self) -> list[str]:
        own = [*object.__dir__(self)]
        return own if self._module is None else [*own, *self.symbols()]

    def address(self, name: str, version: str | None = None) -> int:
        """The address of a symbol, looked up in the library and what it needs."""
        space, module = self._namespace._space, self.module
        if not isinstance(name, str):
            raise TypeError(f"a symbol is a str, not {type(name).__name__}")
        first = bool(self._options.get("flags", 0) & RTLD_FIRST)
        if version is None and not first:
            address = symbol_at_once(space, module, name)
            if address:
                return address
        scope = [module] if first else calls.scope_of_handle(space, module)
        try:
            if module in space.deferred:
                return calls.look_up_or_load(space, module, scope, name, version)
            return calls.look_up(space, scope, name, version, module.path)
        except UnresolvedSymbol:
            import difflib

            near = tuple(difflib.get_close_matches(name, self.symbols(), 3, 0.75))
            raise SymbolNotFound(module.path, name, version, near) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        function = self[name]
        # Found as an ordinary attribute from now on.
        self.__dict__[name] = function
        return function

    def __getitem__(self, name: str) -> Any:
        function = self._kind(self.address(name))
        function.__name__ = name
        declared = self._declared.get(name)
        if declared is not None:
            function.restype, function.argtypes = declared
        self._functions[id(function)] = function
        return function

    def function(self, name: str, restype: Any, *argtypes: Any, version: str | None = None) -> Any:
        """A function with its types said at once."""
        function = self._kind(self.address(name, version))
        function.__name__ = name
        function.restype, function.argtypes = restype, argtypes
        self._functions[id(function)] = function
        return function

    def data(self, name: str, kind: Any) -> Any:
        """A variable as an object of ctypes that stands where the variable does; of a TLS variable this thread's."""
        return kind.from_address(self.address(name))

    def cdef(self, text: str) -> Self:
        """Declare functions and types in C; functions get their types from then on. Needs the extra ``cdef``."""
        from rtld.dlfcn.cdef import declare

        for name, types in declare(self, text).items():
            self._declared[name] = types
            function = self.__dict__.get(name)
            if function is not None:
                function.restype, function.argtypes = types
        return self

    # -- its view of others -----------------------------------------------------------------------------

    def interpose(self, name: str, function: Any) -> Callable[[], None]:
        """Lead this library's own references to *name* to a function of ctypes, an address, or a Python function whose types
        ``cdef`` has declared; call the result to undo it.
        """
        from rtld.process.inprocess.hooks import interpose

        types = self._declared.get(name)
        if is_plain(function):
            if types is None:
                raise TypeError(
                    f"{name} is not declared: cdef says how a function of Python is called"
                )
            function = ctypes.CFUNCTYPE(types[0], *(types[1] or ()))(function)
        return interpose(self._namespace._space, self.module, name, function)

    # -- the end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give this opening back. Done once; functions taken from it raise ``Closed`` from now on."""
        if self._module is None:
            return
        self._retire()
        self._namespace._close(self)

    def _retire(self) -> None:
        module, self._module = self._module, None
        assert module is not None
        gone = self._namespace._space.process.code.label("gone")
        name = self._name

        def closed(_result: Any, function: Any, _arguments: Any) -> Any:
            raise Closed(f"{name}: {getattr(function, '__name__', 'function')}")

        for function in list(self._functions.values()):
            if not hasattr(function, "before"):
                function.before = function.restype, getattr(function, "errcheck", None)
            _point(function, gone)
            function.restype = ctypes.c_int
            function.errcheck = closed
        for n in self._remembered():
            del self.__dict__[n]
        self._closing = module

    def _remembered(self) -> dict[str, Any]:
        return {
            n: f
            for n, f in self.__dict__.items()
            if f is not None and self._functions.get(id(f)) is f
        }

    def reload(self) -> Self:
        """Close it and open its source again: the file as it is now. Functions taken from it lead to the new ones."""
        functions = list(self._functions.values())
        remembered = self._remembered()
        self.close()
        again = self._namespace.dlopen(self._source, **self._options)
        self._module, self._name = again._module, again._name
        self._namespace._replace(again, self)
        for function in functions:
            try:
                address = self.address(function.__name__)
            except SymbolNotFound:
                continue  # it raises Closed: the new library does not have it
            _point(function, address)
            function.restype, errcheck = function.before
            del function.before
            if errcheck is not None:
                function.errcheck = errcheck
            else:
                del function.errcheck
            self._functions[id(function)] = function
        self.__dict__.update(remembered)
        return self

"""Python packages imported from a wheel's bytes: nothing is unpacked, extension modules are loaded by our linker.

    import rtld.importer
    with rtld.importer.wheel("ujson-5.10.0-cp311-cp311-manylinux_2_17_x86_64.whl"):
        import ujson

Shared libraries inside the wheel are found by name, wherever in it they are; each wheel has a namespace of its own, so that two
versions of a library live side by side.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import struct
import sys
import zipfile

from rtld.dlfcn import Namespace
from rtld.elf.file import ElfFile
from rtld.elf.search import Found
from rtld.errors import NotFound, UnresolvedSymbol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType, TracebackType
    from typing import Any, Self

    from rtld.core.module import Module
    from rtld.dlfcn import Library

_API = 0x1 | 0x4  # FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI: the interpreter's lock is kept
_PYTHON_API_VERSION = 1013
_M_NAME = 40  # offset of PyModuleDef.m_name


def _prototype(function: Any, restype: Any, *argtypes: Any) -> Any:
    """A function of the interpreter with its types, whatever others have made of the one in ``ctypes.pythonapi``."""
    return ctypes.PYFUNCTYPE(restype, *argtypes)(ctypes.cast(function, ctypes.c_void_p).value or 0)


class _Initialiser(ctypes._CFuncPtr):  # type: ignore[name-defined,misc]
    """PyInit_*: gives a module, or the definition of one (PEP 489)."""

    _flags_ = _API
    _restype_ = ctypes.py_object


class _Rules:
    """Put before a namespace's search: shared libraries of the wheel answer to their names."""

    def __init__(self, rules: Any, wheel: Wheel) -> None:
        self._rules = rules
        self._wheel = wheel

    def find(self, name: str, requester: Module | None, preload: bool) -> Any:
        member = self._wheel.libraries.get(name.rpartition("/")[2])
        if member is not None:
            path = f"{self._wheel.path}/{member}"
            return Found(path, ElfFile(self._wheel.archive.read(member), path), "wheel", None, [])
        return self._rules.find(name, requester, preload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)


def _name_in_full(library: Library, full: str, last: str) -> Callable[[], None] | None:
    """Let an extension that makes its module in one phase name it in full, as the interpreter does (its package context).

    A definition has the last part of the name only; ``__module__`` of functions and classes comes from the module's name.
    """
    real = _prototype(
        ctypes.pythonapi.PyModule_Create2, ctypes.py_object, ctypes.c_void_p, ctypes.c_int
    )

    def create(definition: int, version: int) -> Any:
        place = ctypes.c_char_p.from_address(definition + _M_NAME)
        short = place.value
        if short != last.encode():
            return real(definition, version)
        saved = ctypes.c_void_p.from_address(definition + _M_NAME).value
        place.value = full.encode()
        try:
            return real(definition, version)
        finally:
            ctypes.c_void_p.from_address(definition + _M_NAME).value = saved

    callback = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_int)(create)
    try:
        return library.interpose("PyModule_Create2", callback)
    except UnresolvedSymbol:
        return None


#: Definitions of ``_lengthen``, which the interpreter keeps pointers to.
_definitions: list[Any] = []


def _lengthen() -> None:
    """Let the interpreter's list of modules have an item for every index that was given out: PyState_FindModule looks at
    the item behind the last one (Objects/moduleobject.c and import.c say ``index > size``), whatever stands there.
    """
    definition = ctypes.create_string_buffer(
        104
    )  # PyModuleDef, with an index of its own when it is used
    name = ctypes.c_char_p(b"rtld")
    struct.pack_into("<q", definition, 0, 1)
    struct.pack_into("<QQq", definition, _M_NAME, ctypes.cast(name, ctypes.c_void_p).value, 0, -1)
    _definitions.append((definition, name))
    at = ctypes.addressof(definition)
    api = ctypes.pythonapi
    create = _prototype(api.PyModule_Create2, ctypes.py_object, ctypes.c_void_p, ctypes.c_int)
    add = _prototype(api.PyState_AddModule, ctypes.c_int, ctypes.py_object, ctypes.c_void_p)
    add(create(at, _PYTHON_API_VERSION), at)


def _note_state(module: ModuleType) -> None:
    """PyState_FindModule is to find a module that was made in one phase."""
    api = ctypes.pythonapi
    definition = _prototype(api.PyModule_GetDef, ctypes.c_void_p, ctypes.py_object)(module)
    if not definition:
        return
    _lengthen()
    find = _prototype(api.PyState_FindModule, ctypes.c_void_p, ctypes.c_void_p)
    if not find(definition):
        add = _prototype(api.PyState_AddModule, ctypes.c_int, ctypes.py_object, ctypes.c_void_p)
        add(module, definition)


class Wheel(importlib.abc.MetaPathFinder):
    """A finder for ``sys.meta_path`` over one wheel: a path, bytes, or a binary file."""

    def __init__(self, source: Any, name: str = "<wheel>") -> None:
        self.path = name
        if isinstance(source, str | os.PathLike):
            self.path = os.fspath(source)
        if isinstance(source, bytes | bytearray | memoryview):
            source = io.BytesIO(source)
        self.archive = zipfile.ZipFile(source)
        self.members = set(self.archive.namelist())
        self.libraries = {
            m.rpartition("/")[2]: m for m in sorted(self.members) if ".so" in m.rpartition("/")[2]
        }
        self.namespace = Namespace(os.path.basename(self.path), host="program")
        search = self.namespace._space.ns.search
        search.rules = _Rules(search.rules, self)
        self.extensions: dict[str, Library] = {}

    def __repr__(self) -> str:
        return f"<Wheel {self.path}>"

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """The module of this name, if the wheel has it: a package, source, or an extension for this Python."""
        stem = fullname.replace(".", "/")
        for member, package in ((f"{stem}/__init__.py", True), (f"{stem}.py", False)):
            if member in self.members:
                return self._spec(fullname, member, SourceLoader(self, member), package)
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            if stem + suffix in self.members:
                member = stem + suffix
                return self._spec(fullname, member, ExtensionLoader(self, member), False)
        if any(member.startswith(stem + "/") for member in self.members):
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [f"{self.path}/{stem}"]
            return spec
        return None

    def _spec(
        self, name: str, member: str, loader: Any, package: bool
    ) -> importlib.machinery.ModuleSpec:
        spec = importlib.machinery.ModuleSpec(
            name, loader, origin=f"{self.path}/{member}", is_package=package
        )
        if package:
            spec.submodule_search_locations = [f"{self.path}/{member.rpartition('/')[0]}"]
        spec.has_location = True
        return spec

    def __enter__(self) -> Self:
        sys.meta_path.insert(0, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.meta_path.remove(self)


class SourceLoader(importlib.abc.InspectLoader):
    """A module in Python."""

    def __init__(self, wheel: Wheel, member: str) -> None:
        self.wheel = wheel
        self.member = member

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002
        return self.member.endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return importlib.util.decode_source(self.wheel.archive.read(self.member))

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(
            self.get_source(fullname), f"{self.wheel.path}/{self.member}"
        )
        return code

    def get_data(self, path: str) -> bytes:
        """A file of the wheel, as pkgutil.get_data asks for it."""
        member = path.removeprefix(self.wheel.path + "/")
        try:
            return self.wheel.archive.read(member)
        except KeyError:
            raise OSError(f"{path}: not in the wheel") from None


class ExtensionLoader(importlib.abc.Loader):
    """An extension module, loaded by our linker from the wheel's bytes."""

    def __init__(self, wheel: Wheel, member: str) -> None:
        self.wheel = wheel
        self.member = member

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """PyInit_*, and for a definition PyModule_FromDefAndSpec (PEP 489)."""
        wheel = self.wheel
        path = f"{wheel.path}/{self.member}"
        try:
            library = wheel.namespace.dlopen(wheel.archive.read(self.member), name=path)
        except NotFound as error:
            raise ImportError(str(error), name=spec.name, path=path) from error
        wheel.extensions[spec.name] = library
        last = spec.name.rpartition(".")[2]
        start = _Initialiser(library.address(f"PyInit_{last}"))
        undo = _name_in_full(library, spec.name, last) if last != spec.name else None
        made = start()
        if undo is not None:
            undo()
        if type(made).__name__ != "moduledef":
            made.__file__ = path
            _note_state(made)
            return made  # type: ignore[no-any-return]
        # A definition is static, and lent; ctypes took what it got for its own.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
        create = _prototype(
            ctypes.pythonapi.PyModule_FromDefAndSpec2,
            ctypes.py_object,
            ctypes.py_object,
            ctypes.py_object,
            ctypes.c_int,
        )
        module: ModuleType = create(made, spec, _PYTHON_API_VERSION)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """PyModule_ExecDef; nothing to do for a module that was made in one phase."""
        api = ctypes.pythonapi
        definition = _prototype(api.PyModule_GetDef, ctypes.c_void_p, ctypes.py_object)(module)
        state = _prototype(api.PyModule_GetState, ctypes.c_void_p, ctypes.py_object)
        if definition and not state(module):
            run = _prototype(api.PyModule_ExecDef, ctypes.c_int, ctypes.py_object, ctypes.c_void_p)
            run(module, definition)


def wheel(source: Any, name: str = "<wheel>") -> Wheel:
    """A ``Wheel``; as a context manager it is on ``sys.meta_path``."""
    return Wheel(source, name)


def install(source: Any, name: str = "<wheel>") -> Wheel:
    """Put a wheel on ``sys.meta_path`` for good."""
    return Wheel(source, name).__enter__()

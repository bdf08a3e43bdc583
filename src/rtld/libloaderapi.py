"""libloaderapi.h in Python: LoadLibraryEx and its kin, with Windows' flags and error codes.

    import rtld.libloaderapi as ll
    zlib = ll.LoadLibraryEx("zlib1.dll", native=True)
    ll.GetProcAddress(zlib, "zlibVersion")
    ll.FreeLibrary(zlib)

Handles are ``WindowsLibrary`` objects; their functions can be called. What fails raises ``LoaderError`` with ``winerror``,
the number that GetLastError would give. ``native``: in this process (x86-64); else on an emulated CPU. The program, of
which the directory is the first to be searched, is Python in the current directory; the system is what rtld supplies. What
a DLL needs that is opened by its path is also looked for beside it, as with LOAD_WITH_ALTERED_SEARCH_PATH.
"""

from __future__ import annotations

import os

from rtld.errors import FormatError, RtldError, Unsupported
from rtld.pe.faults import CannotLoad
from rtld.pe.search import Places, Search
from rtld.pe.types import (
    DONT_RESOLVE_DLL_REFERENCES,
    ERRORS,
    LOAD_LIBRARY_AS_DATAFILE,
    LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE,
    LOAD_LIBRARY_AS_IMAGE_RESOURCE,
    LOAD_LIBRARY_SEARCH_APPLICATION_DIR,
    LOAD_LIBRARY_SEARCH_DEFAULT_DIRS,
    LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR,
    LOAD_LIBRARY_SEARCH_SYSTEM32,
    LOAD_LIBRARY_SEARCH_USER_DIRS,
    LOAD_WITH_ALTERED_SEARCH_PATH,
)
from rtld.pe.windows import Windows
from rtld.process.windows import library as processes
from rtld.process.windows.library import WindowsLibrary, open_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "DONT_RESOLVE_DLL_REFERENCES",
    "GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS",
    "GET_MODULE_HANDLE_EX_FLAG_PIN",
    "GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT",
    "LOAD_LIBRARY_AS_DATAFILE",
    "LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE",
    "LOAD_LIBRARY_AS_IMAGE_RESOURCE",
    "LOAD_LIBRARY_SEARCH_APPLICATION_DIR",
    "LOAD_LIBRARY_SEARCH_DEFAULT_DIRS",
    "LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR",
    "LOAD_LIBRARY_SEARCH_SYSTEM32",
    "LOAD_LIBRARY_SEARCH_USER_DIRS",
    "LOAD_WITH_ALTERED_SEARCH_PATH",
    "AddDllDirectory",
    "DataFile",
    "DisableThreadLibraryCalls",
    "FreeLibrary",
    "GetDllDirectory",
    "GetModuleFileName",
    "GetModuleHandle",
    "GetModuleHandleEx",
    "GetProcAddress",
    "LoadLibrary",
    "LoadLibraryEx",
    "LoaderError",
    "RemoveDllDirectory",
    "SetDefaultDllDirectories",
    "SetDllDirectory",
]

GET_MODULE_HANDLE_EX_FLAG_PIN = 1
GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT = 2
GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS = 4


class LoaderError(RtldError):
    """A function has failed; ``winerror`` is what GetLastError gives."""

    def __init__(self, winerror: int, detail: str) -> None:
        self.winerror = winerror
        self.detail = detail
        super().__init__(winerror, detail)

    def __str__(self) -> str:
        name, meaning = ERRORS.get(self.winerror, ("", ""))
        return f"[{self.winerror} {name}] {meaning}: {self.detail}"


class DataFile:
    """A DLL that was loaded for its data: ``data`` are the file's bytes or, for an image resource, the image's.

    ``handle`` is a number that a handle could have: bit 0 says data file, bit 1 image resource.
    """

    def __init__(self, path: str, *, image: bool) -> None:
        from rtld.pe.file import PeFile

        self.path = path
        self.file = PeFile(path)
        self.data: memoryview
        if image:
            from rtld.pe.image import map_image

            self.data = map_image(self.file).data
        else:
            self.data = memoryview(bytes(self.file.data))
        self.handle = id(self) & -65536 | (2 if image else 1)

    def resources(self, kind: int) -> list[tuple[int, int, bytes]]:
        """(number, language, bytes) of every resource of a type (24: manifests); -1 for one with a name. FormatError."""
        from rtld.pe.resources import resources

        return list(resources(self.file, kind))


_AS_DATA = (
    LOAD_LIBRARY_AS_DATAFILE | LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE | LOAD_LIBRARY_AS_IMAGE_RESOURCE
)
_DEFAULT_FLAGS = (
    LOAD_LIBRARY_SEARCH_APPLICATION_DIR
    | LOAD_LIBRARY_SEARCH_USER_DIRS
    | LOAD_LIBRARY_SEARCH_SYSTEM32
    | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS
)
_SEARCH_FLAGS = _DEFAULT_FLAGS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR
_KNOWN = DONT_RESOLVE_DLL_REFERENCES | _AS_DATA | LOAD_WITH_ALTERED_SEARCH_PATH | _SEARCH_FLAGS
_data: list[DataFile] = []


# -- load and free --------------------------------------------------------------------------------


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name


def _find(name: str, flags: int) -> str | None:
    """The file that a name means: itself, or one in the directories that are searched, for whatever CPU; None: in none."""
    if _is_path(name):
        return Search.complete(name)
    here = os.getcwd()
    places = Places(Windows(), application=here, current=here)
    processes.directories.give(places)
    search = Search(places, 0)
    for directory, _ in search.directories(flags):
        found = search.look(directory, search.complete(name))
        if found is not None:
            return found
    return None


def LoadLibraryEx(name: str, flags: int = 0, *, native: bool = False) -> Any:
    """Load a DLL and what it needs, or count one more reference to it. A ``WindowsLibrary``, or with LOAD_LIBRARY_AS_* ``DataFile``."""
    if flags & ~_KNOWN:
        raise LoaderError(87, f"flags {flags & ~_KNOWN:#x} are not supported")
    if flags & LOAD_WITH_ALTERED_SEARCH_PATH and flags & _SEARCH_FLAGS:
        raise LoaderError(87, "LOAD_WITH_ALTERED_SEARCH_PATH and LOAD_LIBRARY_SEARCH_* exclude each other")  # fmt: skip
    if flags & LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR and not os.path.isabs(name):
        raise LoaderError(87, f"LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR: {name} is no absolute path")
    if flags & _AS_DATA:
        return _load_data(name, flags)
    known = None if _is_path(name) else processes.loaded_library(_base(name), native=native)
    if known is not None:
        known._process.refer(known._module)
        return known
    path = _find(name, flags)
    try:
        if path is None:
            return processes.open_supplied(name, flags, native=native)
        if not _is_path(name) or flags & _SEARCH_FLAGS:
            return open_library(path, flags, native=native)
        return open_library(path, flags | LOAD_WITH_ALTERED_SEARCH_PATH, native=native)
    except FileNotFoundError:
        raise LoaderError(126, name) from None
    except (FormatError, Unsupported) as error:
        raise LoaderError(193, str(error)) from None
    except OSError as error:
        raise LoaderError(5, f"{name}: {error.strerror}") from None
    except CannotLoad as error:
        raise LoaderError(error.code, error.detail or error.name) from None


def _load_data(name: str, flags: int) -> Any:
    """A file for its data; what is loaded already is counted once more."""
    try:
        return GetModuleHandleEx(name)
    except LoaderError:
        pass
    path = _find(name, flags)
    try:
        if path is None:
            raise FileNotFoundError(name)
        library = DataFile(path, image=bool(flags & LOAD_LIBRARY_AS_IMAGE_RESOURCE))
    except FormatError as error:
        raise LoaderError(193, str(error)) from None
    except OSError:
        raise LoaderError(2, name) from None
    _data.append(library)
    return library


def LoadLibrary(name: str, *, native: bool = False) -> WindowsLibrary:
    """``LoadLibraryEx`` without flags."""
    library: WindowsLibrary = LoadLibraryEx(name, native=native)
    return library


def _alive(library: WindowsLibrary) -> bool:
    return library._module in library._process.live


def FreeLibrary(library: WindowsLibrary | DataFile) -> bool:
    """One reference less."""
    if isinstance(library, DataFile):
        if library not in _data:
            raise LoaderError(193, "not a data file that is loaded")
        _data.remove(library)
        return True
    if not _alive(library):
        raise LoaderError(126, "not a module that is loaded")
    library._process.close(library._module)
    library._closed = not _alive(library)
    return True


def DisableThreadLibraryCalls(library: WindowsLibrary) -> bool:
    """Its DllMain is not told of threads any more; refused when it has thread-local data."""
    if not _alive(library) or not library._process.disable_thread_calls(library.handle):
        raise LoaderError(126, library.path)
    return True


# -- functions and names --------------------------------------------------------------------------


def GetProcAddress(library: WindowsLibrary | DataFile, name: str | int) -> int:
    """The address of a name or an ordinal."""
    if isinstance(library, DataFile):
        raise LoaderError(126, "a data file has no functions")
    if not _alive(library):
        raise LoaderError(126, "not a module that is loaded")
    try:
        return library.address(name)
    except CannotLoad as error:
        raise LoaderError(error.code, error.name) from None


def GetModuleHandleEx(
    name: str | int | None, flags: int = 0, *, native: bool | None = None
) -> WindowsLibrary:
    """A DLL that is loaded; one more reference unless flags say no. None: the program; with ..._FROM_ADDRESS an address.

    ``native``: only in this process, or only on emulated CPUs; else wherever it is found first.
    """
    pin, unchanged = flags & GET_MODULE_HANDLE_EX_FLAG_PIN, flags & GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT  # fmt: skip
    if flags & ~7 or (pin and unchanged):
        raise LoaderError(87, f"flags {flags:#x}")
    if bool(flags & GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS) != isinstance(name, int):
        raise LoaderError(87, "an address goes with GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS")
    if isinstance(name, str):
        library: WindowsLibrary | None = _loaded(name, native)
    else:
        library = processes.library_at(name, native=native)
    if library is None:
        raise LoaderError(126, f"no module has {name:#x}")
    process, module = library._process, library._module
    if pin:
        process.pin(module)
    elif not unchanged:
        process.refer(module)
    return library


def _base(name: str) -> str:
    base = Search.complete(os.path.basename(name.replace("\\", "/")))
    return base.lower()


def _loaded(name: str, native: bool | None) -> WindowsLibrary:
    """Opened by LoadLibrary, or loaded since another DLL needs it."""
    found = processes.loaded_library(_base(name), native=native)
    if found is None or (_is_path(name) and not _same(name, found.path)):
        raise LoaderError(126, name)
    return found


def _same(name: str, path: str) -> bool:
    name = Search.complete(name)
    return os.path.exists(name) and os.path.exists(path) and os.path.samefile(name, path)


def GetModuleHandle(name: str | None, *, native: bool | None = None) -> WindowsLibrary:
    """A DLL that is loaded, or (None) the program; references stay as they are."""
    return GetModuleHandleEx(name, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, native=native)


def GetModuleFileName(library: WindowsLibrary | DataFile | None) -> str:
    """The path it was loaded from; of the program for None."""
    if isinstance(library, DataFile):
        raise LoaderError(126, "a data file is no module")
    return GetModuleHandle(None).path if library is None else library.path


# -- where DLLs are looked for --------------------------------------------------------------------


def AddDllDirectory(directory: str) -> int:
    """With LOAD_LIBRARY_SEARCH_USER_DIRS or ..._DEFAULT_DIRS search this directory, too; the cookie for RemoveDllDirectory."""
    if not os.path.isabs(directory):
        raise LoaderError(87, f"{directory}: an absolute path is wanted")
    if not os.path.isdir(directory):
        raise LoaderError(2, directory)
    return processes.directories.add(directory)


def RemoveDllDirectory(cookie: int) -> bool:
    """Search it no longer."""
    if not processes.directories.remove(cookie):
        raise LoaderError(87, f"{cookie}: not a cookie of AddDllDirectory")
    return True


def SetDllDirectory(directory: str | None) -> bool:
    """Search this directory instead of the current one; "": none instead of it; None: the current one again."""
    if directory and ";" in directory:
        raise LoaderError(87, directory)
    processes.directories.set_instead(os.path.abspath(directory) if directory else directory)
    return True


def GetDllDirectory() -> str:
    """What SetDllDirectory has set."""
    return processes.directories.instead or ""


def SetDefaultDllDirectories(flags: int) -> bool:
    """How a DLL is searched for that is loaded without flags of its own."""
    if not flags or flags & ~_DEFAULT_FLAGS:
        raise LoaderError(87, f"flags {flags:#x}")
    processes.directories.set_default_flags(flags)
    return True

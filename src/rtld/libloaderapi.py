"""libloaderapi.h in Python: LoadLibraryEx and its kin, with Windows' flags and error codes.

    import rtld.libloaderapi as ll
    zlib = ll.LoadLibraryEx("zlib1.dll", native=True)
    ll.GetProcAddress(zlib, "zlibVersion")
    ll.FreeLibrary(zlib)

Handles are ``WindowsLibrary`` objects; their functions can be called. What fails raises ``LoaderError`` with ``winerror``,
the number that GetLastError would give. ``native``: in this process (x86-64); else on an emulated CPU.
"""

from __future__ import annotations

import os

from rtld.errors import FormatError, RtldError
from rtld.pe.faults import CannotLoad
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
from rtld.process.windows.library import WindowsLibrary, loaded_library, open_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "DONT_RESOLVE_DLL_REFERENCES",
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
    "FreeLibrary",
    "GetModuleFileName",
    "GetModuleHandle",
    "GetModuleHandleEx",
    "GetProcAddress",
    "LoadLibrary",
    "LoadLibraryEx",
    "LoaderError",
    "RemoveDllDirectory",
]

GET_MODULE_HANDLE_EX_FLAG_PIN, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT = 1, 2


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
_open: list[WindowsLibrary] = []
_data: list[DataFile] = []
_directories: list[str] = []
_KNOWN = (
    DONT_RESOLVE_DLL_REFERENCES
    | _AS_DATA
    | LOAD_WITH_ALTERED_SEARCH_PATH
    | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR
    | LOAD_LIBRARY_SEARCH_APPLICATION_DIR
    | LOAD_LIBRARY_SEARCH_USER_DIRS
    | LOAD_LIBRARY_SEARCH_SYSTEM32
    | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS
)


def _find(name: str) -> str:
    """The file that a name means: itself, or in the current directory or those of AddDllDirectory."""
    full = name if "." in os.path.basename(name) else f"{name}.dll"
    full = full.replace("\\", "/")
    if "/" in full:
        return full
    for directory in (os.getcwd(), *_directories):
        try:
            match = next((n for n in os.listdir(directory) if n.lower() == full.lower()), None)
        except OSError:
            continue
        if match is not None:
            return os.path.join(directory, match)
    raise LoaderError(126, name)


def LoadLibraryEx(name: str, flags: int = 0, *, native: bool = False) -> Any:
    """Load a DLL and what it needs, or count one more reference to it. A ``WindowsLibrary``, or with LOAD_LIBRARY_AS_* ``DataFile``."""
    if flags & ~_KNOWN:
        raise LoaderError(87, f"flags {flags & ~_KNOWN:#x} are not supported")
    if flags & LOAD_WITH_ALTERED_SEARCH_PATH and flags & 0x1F00:
        raise LoaderError(87, "LOAD_WITH_ALTERED_SEARCH_PATH and LOAD_LIBRARY_SEARCH_* exclude each other")  # fmt: skip
    if flags & _AS_DATA:
        return _load_data(name, flags)
    path = _find(name)
    try:
        library = open_library(path, flags or LOAD_WITH_ALTERED_SEARCH_PATH, native=native)
    except FileNotFoundError:
        raise LoaderError(126, name) from None
    except FormatError as error:
        raise LoaderError(193, str(error)) from None
    except CannotLoad as error:
        raise LoaderError(error.code, error.detail or error.name) from None
    for directory in _directories:
        places = library._process.ns.search.places
        if directory not in places.user:
            places.user.append(directory)
    _open.append(library)
    return library


def _load_data(name: str, flags: int) -> Any:
    """A file for its data; what is loaded already is counted once more."""
    try:
        return GetModuleHandleEx(name)
    except LoaderError:
        pass
    try:
        library = DataFile(_find(name), image=bool(flags & LOAD_LIBRARY_AS_IMAGE_RESOURCE))
    except FormatError as error:
        raise LoaderError(193, str(error)) from None
    except (OSError, LoaderError):
        raise LoaderError(2, name) from None
    _data.append(library)
    return library


def LoadLibrary(name: str, *, native: bool = False) -> WindowsLibrary:
    """``LoadLibraryEx`` without flags."""
    library: WindowsLibrary = LoadLibraryEx(name, native=native)
    return library


def FreeLibrary(library: WindowsLibrary | DataFile) -> bool:
    """One reference less."""
    if isinstance(library, DataFile):
        if library not in _data:
            raise LoaderError(193, "not a data file that is loaded")
        _data.remove(library)
        return True
    if library not in _open:
        raise LoaderError(126, "not a module that is loaded")
    _open.remove(library)
    if library in _open:  # GetModuleHandleEx has counted it, too
        library._process.close(library._module)
    else:
        library.close()
    return True


def GetProcAddress(library: WindowsLibrary | DataFile, name: str | int) -> int:
    """The address of a name or an ordinal."""
    if isinstance(library, DataFile):
        raise LoaderError(126, "a data file has no functions")
    try:
        return library.address(name)
    except CannotLoad as error:
        raise LoaderError(error.code, error.name) from None


def GetModuleHandleEx(name: str, flags: int = 0) -> WindowsLibrary:
    """A DLL that is loaded; one more reference unless flags say no."""
    library = _loaded(name)
    module = library._module
    if flags & GET_MODULE_HANDLE_EX_FLAG_PIN:
        module.references = -1
    elif not flags & GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT:
        if module.references >= 0:
            module.references += 1
        _open.append(library)
    return library


def _loaded(name: str) -> WindowsLibrary:
    """Opened by LoadLibrary, or loaded since another DLL needs it."""
    base = os.path.basename(name.replace("\\", "/")).lower()
    base = base if "." in base else f"{base}.dll"
    for library in _open:
        if os.path.basename(library.path).lower() == base:
            return library
    found = loaded_library(base)
    if found is None:
        raise LoaderError(126, name)
    return found


def GetModuleHandle(name: str) -> WindowsLibrary:
    """A DLL that is loaded; references stay as they are."""
    return GetModuleHandleEx(name, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT)


def GetModuleFileName(library: WindowsLibrary | DataFile) -> str:
    """The path it was loaded from."""
    if isinstance(library, DataFile):
        raise LoaderError(126, "a data file is no module")
    return library.path


def AddDllDirectory(directory: str) -> str:
    """Search this directory, too; the cookie for RemoveDllDirectory."""
    if not os.path.isabs(directory):
        raise LoaderError(87, f"{directory}: an absolute path is wanted")
    if not os.path.isdir(directory):
        raise LoaderError(2, directory)
    _directories.append(directory)
    return directory


def RemoveDllDirectory(cookie: str) -> bool:
    """Search it no longer."""
    if cookie not in _directories:
        raise LoaderError(87, cookie)
    _directories.remove(cookie)
    return True

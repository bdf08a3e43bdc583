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
    LOAD_LIBRARY_SEARCH_APPLICATION_DIR,
    LOAD_LIBRARY_SEARCH_DEFAULT_DIRS,
    LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR,
    LOAD_LIBRARY_SEARCH_SYSTEM32,
    LOAD_LIBRARY_SEARCH_USER_DIRS,
    LOAD_WITH_ALTERED_SEARCH_PATH,
)
from rtld.process.windows.library import WindowsLibrary, open_library

__all__ = [
    "DONT_RESOLVE_DLL_REFERENCES",
    "LOAD_LIBRARY_AS_DATAFILE",
    "LOAD_LIBRARY_SEARCH_APPLICATION_DIR",
    "LOAD_LIBRARY_SEARCH_DEFAULT_DIRS",
    "LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR",
    "LOAD_LIBRARY_SEARCH_SYSTEM32",
    "LOAD_LIBRARY_SEARCH_USER_DIRS",
    "LOAD_WITH_ALTERED_SEARCH_PATH",
    "AddDllDirectory",
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


_open: list[WindowsLibrary] = []
_directories: list[str] = []
_KNOWN = (
    DONT_RESOLVE_DLL_REFERENCES
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


def LoadLibraryEx(name: str, flags: int = 0, *, native: bool = False) -> WindowsLibrary:
    """Load a DLL and what it needs, or count one more reference to it."""
    if flags & ~_KNOWN:
        raise LoaderError(87, f"flags {flags & ~_KNOWN:#x} are not supported")
    if flags & LOAD_WITH_ALTERED_SEARCH_PATH and flags & 0x1F00:
        raise LoaderError(87, "LOAD_WITH_ALTERED_SEARCH_PATH and LOAD_LIBRARY_SEARCH_* exclude each other")  # fmt: skip
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


def LoadLibrary(name: str, *, native: bool = False) -> WindowsLibrary:
    """``LoadLibraryEx`` without flags."""
    return LoadLibraryEx(name, native=native)


def FreeLibrary(library: WindowsLibrary) -> bool:
    """One reference less."""
    if library not in _open:
        raise LoaderError(126, "not a module that is loaded")
    _open.remove(library)
    library.close()
    return True


def GetProcAddress(library: WindowsLibrary, name: str | int) -> int:
    """The address of a name or an ordinal."""
    try:
        return library.address(name)
    except CannotLoad as error:
        raise LoaderError(error.code, error.name) from None


def GetModuleHandleEx(name: str, flags: int = 0) -> WindowsLibrary:
    """A DLL that is loaded; one more reference unless flags say no."""
    base = os.path.basename(name.replace("\\", "/")).lower()
    base = base if "." in base else f"{base}.dll"
    for library in _open:
        if os.path.basename(library.path).lower() == base:
            module = library._module
            if flags & GET_MODULE_HANDLE_EX_FLAG_PIN:
                module.references = -1
            elif not flags & GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT and module.references >= 0:  # fmt: skip
                module.references += 1
            return library
    raise LoaderError(126, name)


def GetModuleHandle(name: str) -> WindowsLibrary:
    """A DLL that is loaded; references stay as they are."""
    return GetModuleHandleEx(name, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT)


def GetModuleFileName(library: WindowsLibrary) -> str:
    """The path it was loaded from."""
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

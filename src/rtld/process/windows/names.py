"""Names of modules as a program knows them: which file one leads to, and in which directories DLLs are looked for.

A program may name any path. What it is given are files below its root, those of the directories that the search has anyhow,
and the system's, of which ``C:\\windows\\system32`` is made up where no such directory is.
"""

from __future__ import annotations

import os

from rtld.backends.windows.paths import full_name, host_path, windows_name
from rtld.pe.apiset import is_api_set
from rtld.pe.search import SYSTEM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System
    from rtld.pe.module import PeModule, PeNamespace

_SYSTEM_DIRECTORIES = ("c:/windows/system32", "c:/windows/syswow64", "c:/windows/sysnative")


class Names:
    """The part of ``Loader`` that knows names and directories."""

    ns: PeNamespace
    live: list[PeModule]
    main: PeModule
    system: System

    def __init__(self) -> None:
        self.dll_directory: str | None = None  # SetDllDirectory
        self._cookies: dict[int, str] = {}  # AddDllDirectory
        self._opening = ""  # what Python has named may be anywhere

    # -- names to files ---------------------------------------------------------------------------

    def locate(self, name: str) -> str | None:
        """What a name of the program's is to the search: a base name, a path of ours; None: it leads out."""
        if name[1:2] != ":" and not name.startswith(("\\", "/")):
            return name
        return self._full(name)

    def _full(self, name: str) -> str | None:
        """The same for a name that is relative to the current directory, if it is."""
        full = self.ns.search.complete(full_name(name.rstrip(" "), self.system.directory))
        path = host_path(self.system, full)
        if path is not None and os.path.isfile(path):
            return path
        directory, _, base = full.rpartition("/")
        if directory.lower() in _SYSTEM_DIRECTORIES:
            return SYSTEM + base
        if full[:3].lower() == "z:/" and self.allowed(full[2:]):
            return full[2:]
        return path

    def allowed(self, path: str) -> bool:
        """May the program load from there?"""
        places, path = self.ns.search.places, os.path.realpath(path)
        known = (
            places.application,
            *places.dll_path,
            *places.windows.system,
            places.windows.windows,
        )
        return self.system.sees(path) or path == self._opening or any(
            path.startswith(os.path.realpath(directory) + "/") for directory in known if directory
        )  # fmt: skip

    def loaded(self, name: str) -> PeModule | None:
        """A module by name, if it is loaded already."""
        if "\\" in name or "/" in name or name[1:2] == ":":
            path = self._full(name) or ""
            found = self.ns.by_name.get(path.removeprefix(SYSTEM))
            if found is None and os.path.isfile(path):
                status = os.stat(path)
                found = self.ns.by_file.get((status.st_dev, status.st_ino))
        else:
            base = self.ns.search.complete(name).lower()
            sets = self.ns.windows.apisets
            if is_api_set(base) and sets is not None:
                base = (sets.resolve(base, self.main.base_name) or base).lower()
            found = self.ns.by_base.get(base)
        return found if found in self.live else None

    # -- files to names ---------------------------------------------------------------------------

    def windows_path(self, module: PeModule) -> str:
        """A module's path as the program sees it."""
        if "/" not in module.path:  # supplied
            return f"C:\\windows\\system32\\{module.path}"
        return windows_name(self.system, module.path)

    def by_handle(self, handle: int) -> PeModule | None:
        """The module at that base."""
        return next((m for m in self.live if m.base == handle), None)

    def file_name(self, handle: int) -> str:
        """GetModuleFileName."""
        module = self.by_handle(handle) if handle else self.main
        return self.windows_path(module) if module is not None else ""

    def path_directories(self) -> list[str]:
        """Those of PATH, as the program has it now, that it may see."""
        value = next((v for k, v in self.system.environ.items() if k.upper() == "PATH"), "")
        found = [host_path(self.system, name) for name in value.split(";") if name]
        return [path for path in found if path is not None]

    # -- directories ------------------------------------------------------------------------------

    def set_dll_directory(self, name: str | None) -> None:
        """SetDllDirectory: instead of the current directory; None: that is searched again."""
        self.dll_directory = name
        found = host_path(self.system, name) or "" if name else name
        self.ns.search.places.instead = found

    def add_dll_directory(self, name: str, cookie: int) -> bool:
        """AddDllDirectory: the newest comes first. False: there is no such directory."""
        path = host_path(self.system, name)
        if path is None or not os.path.isdir(path):
            return False
        self._cookies[cookie] = path
        self.ns.search.places.user.insert(0, path)
        return True

    def remove_dll_directory(self, cookie: int) -> bool:
        """RemoveDllDirectory."""
        path = self._cookies.pop(cookie, None)
        if path is None:
            return False
        self.ns.search.places.user.remove(path)
        return True

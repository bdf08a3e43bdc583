"""Where a DLL's name leads ("Dynamic-link library search order", learn.microsoft.com), with every decision recorded.

Before any directory is looked at: API sets, side-by-side assemblies, DLLs that are loaded already (``load.py`` asks for
all three), known DLLs. Then the directories, in an order that flags of LoadLibraryEx change. Names are compared without
case on a disk that has it. A file for another CPU is passed over, and the search goes on; at one that is no image it ends.
"""

from __future__ import annotations

import os
from collections import namedtuple

from rtld.errors import FormatError
from rtld.pe.faults import DllNotFound
from rtld.pe.file import PeFile
from rtld.pe.types import (
    LOAD_LIBRARY_SEARCH_APPLICATION_DIR,
    LOAD_LIBRARY_SEARCH_DEFAULT_DIRS,
    LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR,
    LOAD_LIBRARY_SEARCH_SYSTEM32,
    LOAD_LIBRARY_SEARCH_USER_DIRS,
    LOAD_WITH_ALTERED_SEARCH_PATH,
    machine_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rtld.pe.module import PeModule
    from rtld.pe.windows import Windows

#: One thing tried: a path (or the name an API set led to), the rule, "found" or why not, a sentence more.
Candidate = namedtuple("Candidate", "path rule outcome detail")
#: Where a name led: the decoded file, its path, the rule, the module whose directory or manifest it was, all tries.
Found = namedtuple("Found", "file path rule owner candidates")

_SEARCH_FLAGS = (
    LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR
    | LOAD_LIBRARY_SEARCH_APPLICATION_DIR
    | LOAD_LIBRARY_SEARCH_USER_DIRS
    | LOAD_LIBRARY_SEARCH_SYSTEM32
    | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS
)


#: Before a base name: only the system has it, whoever else has a DLL of that name.
SYSTEM = "//system/"


class Places:
    """The directories of a process. Any of them may be changed while it runs (SetDllDirectory, AddDllDirectory)."""

    __slots__ = (
        "application", "current", "default_flags", "dll_path", "instead", "path", "safe", "user", "windows",
    )  # fmt: skip

    def __init__(
        self,
        windows: Windows,
        *,
        application: str = "",
        dll_path: Sequence[str] = (),
        path: Sequence[str] = (),
        current: str | None = None,
        safe: bool = True,
    ) -> None:
        self.application = application  # the program's directory
        # Further directories; they, too, take the current directory out of the search.
        self.dll_path = list(dll_path)
        self.user: list[str] = []  # AddDllDirectory
        self.instead: str | None = (
            None  # SetDllDirectory; "": nothing in place of the current directory
        )
        self.default_flags = 0  # SetDefaultDllDirectories
        self.windows = windows  # the system's directories
        self.path = list(path)  # PATH
        self.current = current  # None: not searched
        self.safe = safe  # SafeDllSearchMode: the current directory comes after the system's


class Search:
    """Finds and opens DLLs for one CPU. Directory listings are read once."""

    def __init__(self, places: Places, machine: int, *, strict: bool = False) -> None:
        self.places = places
        self.machine = machine
        self.strict = strict
        self.supplied: dict[str, Callable[[], PeFile]] = {}  # DLLs that stand in no directory
        self.allowed: Callable[[str], bool] | None = None  # of what is named with a path
        self.lacking: dict[str, Callable[[], PeFile]] = {}  # the same, for those that are in none
        self._listings: dict[str, dict[str, str]] = {}

    # -- names ------------------------------------------------------------------------------------

    @staticmethod
    def complete(name: str) -> str:
        """A name as the loader understands it: no trailing blanks, "/" for "\\\\", ".dll" where there is no dot."""
        name = name.rstrip(" ").replace("\\", "/")
        base = name.rpartition("/")[2]
        if base.endswith("."):
            return name.rstrip(".")  # "NAME." has no extension
        return name if "." in base else f"{name}.dll"

    def look(self, directory: str, name: str) -> str | None:
        """The path of a file in a directory, whatever the case of its letters; None when there is none."""
        directory = directory or "."
        if "/" in name:
            head, _, name = name.rpartition("/")
            for part in head.split("/"):
                found = self._in(directory, part) if part not in ("", ".", "..") else part
                if found is None:
                    return None
                directory = os.path.join(directory, found) if found else directory
        found = self._in(directory, name)
        return None if found is None else os.path.join(directory, found)

    def _in(self, directory: str, name: str) -> str | None:
        listing = self._listings.get(directory)
        if listing is None:
            try:
                names = sorted(os.listdir(directory), reverse=True)
            except OSError:
                names = []
            listing = {n.lower(): n for n in names} | {n: n for n in names}
            self._listings[directory] = listing
        return listing.get(name) or listing.get(name.lower())

    # -- directories ------------------------------------------------------------------------------

    def directories(self, flags: int = 0, loading: str = "") -> Iterator[tuple[str, str]]:
        """(directory, rule) in the order they are searched; ``loading``: the directory of a DLL opened by its path."""
        places = self.places
        if not flags & (_SEARCH_FLAGS | LOAD_WITH_ALTERED_SEARCH_PATH):
            flags |= places.default_flags
        instead = [places.instead] if places.instead else []
        if flags & LOAD_LIBRARY_SEARCH_DEFAULT_DIRS:
            flags |= (
                LOAD_LIBRARY_SEARCH_APPLICATION_DIR
                | LOAD_LIBRARY_SEARCH_USER_DIRS
                | LOAD_LIBRARY_SEARCH_SYSTEM32
            )
        if flags & _SEARCH_FLAGS:
            if flags & LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR and loading:
                yield loading, "load directory"
            if flags & LOAD_LIBRARY_SEARCH_APPLICATION_DIR:
                yield places.application, "application"
            if flags & LOAD_LIBRARY_SEARCH_USER_DIRS:
                yield from [(d, "user") for d in (*places.user, *instead, *places.dll_path)]
            if flags & LOAD_LIBRARY_SEARCH_SYSTEM32:
                yield from [(d, "system") for d in places.windows.system[:1]]
            return
        if flags & LOAD_WITH_ALTERED_SEARCH_PATH and loading:
            yield loading, "load directory"
        else:
            yield places.application, "application"
        current = [(places.current, "current")] if places.current is not None else []
        yield from [(d, "dll-path") for d in (*instead, *places.dll_path)]
        if places.dll_path or places.instead is not None:
            current = []
        if not places.safe:
            yield from current
        yield from [(d, "system") for d in places.windows.system]
        if places.windows.windows:
            yield places.windows.windows, "windows"
        if places.safe:
            yield from current
        yield from [(d, "PATH") for d in places.path]

    # -- files ------------------------------------------------------------------------------------

    def find(
        self,
        name: str,
        requester: PeModule | None = None,
        flags: int = 0,
        loading: str = "",
        tried: Sequence[Candidate] = (),
    ) -> Found:
        """The file that a complete name leads to. DllNotFound has what was tried."""
        candidates = list(tried)
        windows = self.places.windows
        places: Iterable[tuple[str, str]] = self.directories(flags, loading)
        if name.startswith(SYSTEM):
            name = name.removeprefix(SYSTEM)
            places = [(d, "system") for d in windows.system]
        elif name.startswith("/") or name[1:2] == ":":
            path = self.path_of(name)
            file = self._open(path, "path", candidates) if self._may(path, candidates) else None
            if file is not None:
                return Found(file, path, "path", requester, tuple(candidates))
            raise DllNotFound(name, requester.path if requester else None, candidates)
        supplied = self.supplied.get(name.lower())
        if supplied is not None:
            candidates.append(Candidate(name, "supplied", "found", ""))
            return Found(supplied(), name.lower(), "supplied", None, tuple(candidates))
        if name.lower() in windows.known and windows.system:
            path = self.look(windows.system[0], name) or os.path.join(windows.system[0], name)
            file = self._open(path, "known DLL", candidates)
            if file is not None:
                return Found(file, path, "known DLL", None, tuple(candidates))
        for directory, rule in places:
            there = self.look(directory, name)
            if there is None:
                path = os.path.join(directory, name)
                candidates.append(Candidate(path, rule, "missing", ""))
                continue
            if "/" in name and not self._may(there, candidates):
                continue
            file = self._open(there, rule, candidates)
            if file is not None:
                return Found(file, there, rule, None, tuple(candidates))
            if candidates[-1].outcome == "malformed":
                break
        supplied = self.lacking.get(name.lower())
        if supplied is not None:
            candidates.append(Candidate(name, "supplied", "found", ""))
            return Found(supplied(), name.lower(), "supplied", None, tuple(candidates))
        raise DllNotFound(name, requester.path if requester else None, candidates)

    def _may(self, path: str, candidates: list[Candidate]) -> bool:
        if self.allowed is None or self.allowed(path):
            return True
        candidates.append(Candidate(path, "path", "refused", "the program may not see it"))
        return False

    def path_of(self, name: str) -> str:
        """A path of Windows or of this system as one of this system."""
        if len(name) > 2 and name[1] == ":" and name[2] == "/":
            root = self.places.windows.drive(name[0])
            if root is not None:
                return self.look(root, name[3:]) or os.path.join(root, name[3:])
        return name if os.path.lexists(name) else self.look("/", name[1:]) or name

    def forget(self) -> None:
        """Listings of directories: a program may have made files since."""
        self._listings.clear()

    def _open(self, path: str, rule: str, candidates: list[Candidate]) -> PeFile | None:
        try:
            file = PeFile(path, strict=self.strict)
        except FormatError as error:
            detail = str(error).removeprefix(f"{path}: ")
            candidates.append(Candidate(path, rule, "malformed", detail))
            return None
        except OSError as error:
            outcome = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
            candidates.append(Candidate(path, rule, outcome, error.strerror or str(error)))
            return None
        if file.machine != self.machine:
            candidates.append(Candidate(path, rule, "wrong machine", machine_name(file.machine)))
            file.close()
            return None
        candidates.append(Candidate(path, rule, "found", ""))
        return file

"""Where a Windows system is: its directories, its API sets, the DLLs it calls known.

That is what --windows-dir names: the directory "windows" of an installation or of a Wine prefix, or any directory of
system DLLs. Without it: the user's Wine prefix, else the DLLs that Wine has been installed with.
"""

from __future__ import annotations

import os

from rtld.errors import FormatError
from rtld.pe import apiset
from rtld.pe.file import PeFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtld.pe.apiset import ApiSets

#: CPU -> (directory in an installation's windows directory, directory of Wine's DLLs)
_SYSTEM = {
    "x86_64": (("system32",), "x86_64-windows"),
    "i386": (("syswow64", "system32"), "i386-windows"),
    "aarch64": (("system32",), "aarch64-windows"),
    "arm": (("sysarm32", "system32"), "arm-windows"),
}
_WINE_ROOTS = (
    "/usr/lib/x86_64-linux-gnu/wine",
    "/usr/lib/i386-linux-gnu/wine",
    "/usr/lib/wine",
    "/usr/lib64/wine",
    "/opt/wine-stable/lib/wine",
    "/opt/wine-stable/lib64/wine",
)


class Windows:
    """``system``: its directories of DLLs; ``windows``: the one above, or ""; ``known``: names that are taken from there."""

    __slots__ = ("_apisets", "known", "system", "windows")

    def __init__(
        self,
        system: Iterable[str] = (),
        windows: str = "",
        known: Iterable[str] = (),
        apisets: ApiSets | None = None,
    ) -> None:
        self.system = list(system)
        self.windows = windows
        self.known = {name.lower() for name in known}
        self._apisets: ApiSets | bool | None = apisets if apisets is not None else False

    @property
    def apisets(self) -> ApiSets | None:
        """The schema: the one given, else that of the system's apisetschema.dll; None without any."""
        if self._apisets is False:
            self._apisets = None
            for directory in self.system:
                path = os.path.join(directory, "apisetschema.dll")
                if os.path.exists(path):
                    try:
                        self._apisets = apiset.from_file(PeFile(path))
                        break
                    except FormatError:
                        continue
        return self._apisets  # type: ignore[return-value]

    def drive(self, letter: str) -> str | None:
        """The directory that is a drive: C: is the one that has the windows directory, Z: is everything (Wine)."""
        if letter.lower() == "z":
            return "/"
        if letter.lower() == "c" and self.windows:
            return os.path.dirname(os.path.abspath(self.windows))
        return None


def windows_for(
    arch: str,
    directory: str | None = None,
    *,
    apisets: str | None = None,
    known: Iterable[str] = (),
) -> Windows:
    """The system for programs of a CPU. ``directory`` as --windows-dir has it, ``apisets`` the path of a schema."""
    schema = apisets_of(apisets) if apisets is not None else None
    names, wine = _SYSTEM.get(arch, (("system32",), ""))
    if directory is None:
        directory = _prefix(names)
    if directory is not None:
        for name in names:
            found = _child(directory, name)
            if found is not None:
                return Windows([found], directory, known, schema)
        return Windows([directory], "", known, schema)
    return Windows([d for d in (os.path.join(r, wine) for r in _WINE_ROOTS) if os.path.isdir(d)], "", known, schema)  # fmt: skip


def apisets_of(path: str) -> ApiSets:
    """A schema from an apisetschema.dll, or from the bare bytes of its section. OSError, FormatError."""
    with open(path, "rb") as file:
        head = file.read(2)
    if head == b"MZ":
        return apiset.from_file(PeFile(path))
    with open(path, "rb") as file:
        return apiset.decode(file.read(1 << 24), path)


def _prefix(names: tuple[str, ...]) -> str | None:
    """The windows directory of the user's Wine prefix, when it has a system directory for that CPU."""
    prefix = os.environ.get("WINEPREFIX") or os.path.expanduser("~/.wine")
    directory = os.path.join(prefix, "drive_c", "windows")
    if _child(directory, names[0]) is not None:
        return directory
    return None


def _child(directory: str, name: str) -> str | None:
    try:
        found = next((n for n in os.listdir(directory) if n.lower() == name), None)
    except OSError:
        return None
    return None if found is None else os.path.join(directory, found)

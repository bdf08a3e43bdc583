"""DLLs that stand in no directory: those of our own tables, and the system's C libraries that may take their place."""

from __future__ import annotations

import os

from rtld.backends.windows import crt
from rtld.errors import Unsupported
from rtld.pe.apiset import ApiSets
from rtld.pe.small import Column
from rtld.pe.windows import windows_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.stubs import StubDll

GUEST_CRT = ("msvcrt.dll", "ucrtbase.dll")


class SuppliedSets(ApiSets):
    """API sets where there is no system: what our tables stand behind."""

    def __init__(self) -> None:
        super().__init__("tables", 6, {})

    def resolve(self, dll: str, importer: str = "") -> str | None:  # noqa: ARG002
        return crt.host_of(dll)


def guest_crt(arch: str, windows_dir: str | None) -> dict[str, str]:
    """The system's C libraries, name -> path: they need KERNEL32 and NTDLL only, which are ours. Unsupported without them."""
    found = {}
    for directory in windows_for(arch, windows_dir).system:
        for name in GUEST_CRT:
            path = os.path.join(directory, name)
            if name not in found and os.path.exists(path):
                found[name] = path
    if not found:
        raise Unsupported(
            f"no C library of Windows for {arch} is installed", "install Wine (Debian: libwine), or name a directory with --windows-dir"
        )  # fmt: skip
    return found


class StubExports:
    """The exports of such a DLL without decoding them: what ``rtld.pe.exports.Exports`` is asked by the loader.

    Names are in order and all functions have one: a name's place in the table is its function's.
    """

    def __init__(self, file: object, stub: StubDll, ordinals: dict[int, str]) -> None:
        self.file = file
        self.dll = stub.name.encode()
        self.rva = self.size = self.stamp = 0
        self.ordinal_base = 1
        rows = sorted((name.encode(), rva) for name, rva in stub.places.items())
        self.functions = Column(rva for _, rva in rows)
        self._names = [name for name, _ in rows]
        self._index = {name: index for index, name in enumerate(self._names)}
        self._ordinals = ordinals

    def __len__(self) -> int:
        return len(self._names)

    def names(self) -> list[bytes]:
        return self._names

    def names_of(self) -> dict[int, bytes]:
        return dict(enumerate(self._names))

    def by_name(self, name: bytes, hint: int = -1) -> tuple[int, str] | None:
        """(function index, how it was found)."""
        index = self._index.get(name)
        return None if index is None else (index, "hint" if index == hint else "search")

    def by_ordinal(self, ordinal: int) -> int | None:
        return self._index.get(self._ordinals.get(ordinal, "").encode())

    def forwarder(self, _index: int) -> None:
        """None: there are no forwarders."""
        return

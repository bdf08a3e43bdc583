"""DLLs that LoadLibraryEx maps for their data: LOAD_LIBRARY_AS_DATAFILE(_EXCLUSIVE), LOAD_LIBRARY_AS_IMAGE_RESOURCE.

A handle is the address of the file's bytes plus 1, or of the image's plus 2 ("LoadLibraryEx function", learn.microsoft.com; Wine's
kernelbase). Nobody knows the module by its name, it has no functions, and nothing of it runs: its CPU may be any. One that
is loaded already is what it is, and counted once more.
"""

from __future__ import annotations

from collections import namedtuple

from rtld.errors import FormatError
from rtld.pe.faults import DllNotFound
from rtld.pe.file import PeFile
from rtld.pe.types import (
    LOAD_LIBRARY_AS_DATAFILE,
    LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE,
    LOAD_LIBRARY_AS_IMAGE_RESOURCE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AS_DATA = (
    LOAD_LIBRARY_AS_DATAFILE | LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE | LOAD_LIBRARY_AS_IMAGE_RESOURCE
)
#: ``base``: the handle; ``address``, ``size``: where its bytes are.
DataFile = namedtuple("DataFile", "base path address size")
_READ = 1


class DataFiles:
    """The data files of one process."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._open: dict[int, DataFile] = {}

    def open(self, name: str, flags: int) -> tuple[Any, int]:
        """(``DataFile``, or a module that is loaded, 0) or (None, Win32 error)."""
        loader = self._loader
        loaded = loader.loaded(name)
        if loaded is not None:
            loader.refer(loaded)
            return loaded, 0
        try:
            path = self._find(loader.ns.search.complete(name), flags)
            file = PeFile(path)
        except FormatError:
            return None, 193
        except OSError:
            return None, 2
        image = bool(flags & LOAD_LIBRARY_AS_IMAGE_RESOURCE)
        size = file.span if image else file.size
        guest = loader.machine.guest
        at = guest.allocate(size)
        if image:  # what no section fills is zero, and costs nothing
            for each in file.sections:
                guest.write(at + each.address, bytes(file.data[each.offset : each.offset + each.filled]))  # fmt: skip
        else:
            guest.write(at, bytes(file.data))
        loader.machine.protect(at, size, _READ)
        made = DataFile(at + (2 if image else 1), path, at, size)
        self._open[made.base] = made
        file.close()
        return made, 0

    def _find(self, name: str, flags: int) -> str:
        """Its path; FileNotFoundError. What is no image at all, or for another CPU, is found, too."""
        search = self._loader.ns.search
        try:
            return str(search.find(name, None, flags).path)
        except DllNotFound as error:
            for each in error.candidates:
                if each.outcome in ("wrong machine", "malformed"):
                    return str(each.path)
            raise FileNotFoundError(name) from None

    def close(self, handle: int) -> bool:
        """Give the memory back; False when it is none of ours."""
        found = self._open.pop(handle, None)
        if found is None:
            return False
        self._loader.machine.guest.release(found.address, found.size)
        return True

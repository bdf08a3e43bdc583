"""What an image exports: functions by ordinal, names in alphabetical order, forwarders ("PE Format", .edata).

An address inside the export directory itself is no code, but the text of a forwarder. Look-ups are the loader's: the
hint first, then a binary search that compares bytes. A file with an unsorted table is searched just as badly.
"""

from __future__ import annotations

import itertools
import struct

from rtld.pe import small
from rtld.pe.types import EXPORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.columns import Array
    from rtld.pe.file import PeFile

_DIRECTORY = struct.Struct("<IIHHIIIIIII")
_WHAT = "export directory"
_ENOUGH_SEARCHES = 24  # after so many a dictionary is cheaper

#: How a name was found.
HINT, SEARCH, ORDINAL = "hint", "search", "ordinal"


class Exports:
    """The export directory as columns.

    ``functions`` uint32[NumberOfFunctions]: RVAs, 0 where nothing is exported; ``ordinals`` uint16[NumberOfNames]: index
    into ``functions`` of each name; ``name_offsets`` int64[NumberOfNames]: where the names stand in the file.
    """

    __slots__ = (
        "_index", "_names", "_searches", "dll", "file", "functions", "name_offsets", "ordinal_base", "ordinals",
        "rva", "size", "stamp",
    )  # fmt: skip

    def __init__(self, file: PeFile) -> None:
        self._names: list[bytes] | None = None
        self._index: dict[bytes, int] | None = None
        self._searches = 0
        self.file = file
        self.functions: Array
        self.ordinals: Array
        self.name_offsets: Array
        if small.wanted():
            try:
                (self.dll, self.rva, self.size, self.stamp, self.ordinal_base, self.functions, self.ordinals,
                 self.name_offsets) = small.read_exports(file)  # fmt: skip
                return
            except small.GiveUp:
                pass
        self._read(file)

    def _read(self, file: PeFile) -> None:
        import numpy as np

        from rtld.pe.columns import offsets, table

        self.dll = b""
        self.rva = self.size = self.stamp = 0
        self.ordinal_base = 0
        self.functions = np.zeros(0, np.uint32)
        self.ordinals = np.zeros(0, np.uint16)
        self.name_offsets = np.zeros(0, np.int64)
        directory = file.directory(EXPORT)
        if directory is None:
            return
        self.rva, self.size = directory
        at = file.locate(self.rva, _DIRECTORY.size, _WHAT)
        _, self.stamp, _, _, name, base, functions, names, *places = _DIRECTORY.unpack_from(file.data, at)  # fmt: skip
        self.ordinal_base = base
        if name:
            try:
                self.dll = file.string(name, f"{_WHAT}, Name")
            except Exception:
                file.complain(_WHAT, "Name", name, "the address of a string")
        self.functions = table(file, places[0], functions, "<u4", f"{_WHAT}, AddressOfFunctions")
        if names:
            rvas = table(file, places[1], names, "<u4", f"{_WHAT}, AddressOfNames")
            self.ordinals = table(file, places[2], names, "<u2", f"{_WHAT}, AddressOfNameOrdinals")
            self.name_offsets = offsets(file, rvas, 1, f"{_WHAT}, name")
            worst = int(self.ordinals.max())
            if worst >= functions:
                file.complain(_WHAT, "ordinal of a name", worst, f"less than {functions}")

    def __len__(self) -> int:
        """How many functions are exported, by name or ordinal."""
        return sum(map(bool, self.functions.tolist()))

    # -- names ------------------------------------------------------------------------------------

    def name(self, index: int) -> bytes:
        """The ``index``-th name of the name table."""
        at = int(self.name_offsets[index])
        return b"" if at < 0 else self.file.string_at(at, self._left(at), f"{_WHAT}, name")

    def _left(self, offset: int) -> int:
        for section in self.file.sections:
            if section.offset <= offset < section.offset + section.filled:
                return int(section.offset + section.filled - offset)
        return 0

    def names(self) -> list[bytes]:
        """All names, in the table's order. One pass over the bytes where they stand together, as linkers put them."""
        if self._names is None:
            self._names = self._together()
            if self._names is None:
                self._names = [self.name(i) for i in range(len(self.name_offsets))]
        return self._names

    def _together(self) -> list[bytes] | None:
        at = self.name_offsets
        if isinstance(at, small.Column):
            return None
        import numpy as np

        if len(at) < 2 or int(at.min()) < 0 or not bool((at[1:] > at[:-1]).all()):
            return None
        first, last = int(at[0]), int(at[-1])
        if last - first > 1 << 24:
            return None
        last_name = self.name(len(at) - 1)
        pieces = bytes(self.file.data[first : last + len(last_name)]).split(b"\0")
        if len(pieces) != len(at):
            return None
        ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)) + 1)
        return pieces if bool((ends[:-1] == at[1:] - first).all()) else None

    def names_of(self) -> dict[int, bytes]:
        """Function index -> its first name."""
        result: dict[int, bytes] = {}
        for index, name in zip(self.ordinals.tolist(), self.names(), strict=True):
            result.setdefault(index, name)
        return result

    # -- look-ups ---------------------------------------------------------------------------------

    def by_name(self, name: bytes, hint: int = -1) -> tuple[int, str] | None:
        """(function index, HINT or SEARCH) of a name; None when it is not exported."""
        at = self.name_offsets
        count = len(at)
        data = self.file.data
        if 0 <= hint < count:
            start = at.item(hint)
            if start >= 0 and data[start : start + len(name) + 1] == name + b"\0":
                return self._exported(self.ordinals.item(hint), HINT)
        if self._index is None and self._searches < _ENOUGH_SEARCHES:
            self._searches += 1
            low, high = 0, count - 1
            while low <= high:
                middle = (low + high) // 2
                there = self.name(middle)
                if there == name:
                    return self._exported(self.ordinals.item(middle), SEARCH)
                if there > name:
                    high = middle - 1
                else:
                    low = middle + 1
            return None
        if self._index is None:
            self._index = self._build_index()
        found = self._index.get(name)
        return None if found is None else self._exported(found, SEARCH)

    def _build_index(self) -> dict[bytes, int]:
        """What the binary search would answer to every name: in a table that is sorted, all of them."""
        names = self.names()
        if all(a < b for a, b in itertools.pairwise(names)):
            return dict(zip(names, self.ordinals.tolist(), strict=True))
        found: dict[bytes, int] = {}
        for name in names:
            low, high = 0, len(names) - 1
            while low <= high:
                middle = (low + high) // 2
                if names[middle] == name:
                    found[name] = self.ordinals.item(middle)
                    break
                low, high = (low, middle - 1) if names[middle] > name else (middle + 1, high)
        return found

    def _exported(self, index: int, how: str) -> tuple[int, str] | None:
        if index >= len(self.functions) or not self.functions.item(index):
            return None
        return index, how

    def by_ordinal(self, ordinal: int) -> int | None:
        """The function index of an ordinal; None when nothing is exported by it."""
        index: int = ordinal - self.ordinal_base
        if not 0 <= index < len(self.functions) or not self.functions.item(index):
            return None
        return index

    def forwarder(self, index: int) -> bytes | None:
        """The text "DLL.NAME" or "DLL.#ORDINAL" of a forwarder; None of a function."""
        rva = self.functions.item(index)
        if not self.rva <= rva < self.rva + self.size:
            return None
        return self.file.string(rva, f"{_WHAT}, forwarder")

    def forwarders(self) -> Array:
        """bool[NumberOfFunctions]: which of them are forwarders."""
        import numpy as np

        functions = np.asarray(self.functions, np.uint32)
        found: Array = (functions >= self.rva) & (functions < self.rva + self.size)
        return found


def exports(file: PeFile) -> Exports:
    """The export directory of a file, decoded once; empty when it has none."""
    found = file.cache.get("exports")
    if found is None:
        found = file.cache["exports"] = Exports(file)
    return found  # type: ignore[return-value]


def split_forwarder(text: bytes) -> tuple[str, bytes, int | None]:
    """(DLL, name, None) or (DLL, "", ordinal) of a forwarder's text: the last dot parts them ("bthprops.cpl.X")."""
    dll, _, name = text.rpartition(b".")
    if name[:1] == b"#" and name[1:].isdigit() and len(name) < 12:
        return dll.decode("latin-1"), b"", int(name[1:])
    return dll.decode("latin-1"), name, None

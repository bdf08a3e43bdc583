"""What an image imports: at load, delayed, and bound beforehand ("PE Format", .idata; delayimp.h).

An import directory has one descriptor for each DLL, with two parallel tables: the look-up table names the symbols, by
hint and name or by ordinal, and the address table (IAT) gets the addresses.
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.errors import FormatError
from rtld.pe import small
from rtld.pe.types import BOUND_IMPORT, DELAY_IMPORT, IMPORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.pe.columns import Array
    from rtld.pe.file import PeFile

#: One DLL that is imported from. Its symbols are rows ``first`` to ``first + count`` of the columns. ``lookup`` and
#: ``iat`` are RVAs; ``stamp`` is 0, -1 (bound, see the bound import directory) or a time (bound, the old way).
Descriptor = namedtuple("Descriptor", "dll lookup iat stamp chain first count delay")
#: What only delay descriptors have: RVAs of the module handle, of the bound and the unload copy of the IAT; version 1
#: has addresses instead of RVAs in the file.
Delay = namedtuple("Delay", "version handle bound unload stamp")
#: A row of the bound import directory: a DLL, when it was linked, and the same of those that it forwards to.
Bound = namedtuple("Bound", "dll stamp forwarders")

_DESCRIPTOR = struct.Struct("<IIIII")
_DELAY = struct.Struct("<IIIIIIII")
_BOUND = struct.Struct("<IHH")


class Imports:
    """Descriptors, and one row for each symbol in columns.

    ``descriptor`` int32[n], ``slot`` int64[n] (RVA in the IAT), ``ordinal`` int32[n] (-1: by name), ``hint`` int32[n]
    (-1: by ordinal), ``name_offsets`` int64[n] (in the file, -1: by ordinal).
    """

    __slots__ = ("descriptor", "descriptors", "file", "hint", "name_offsets", "ordinal", "slot")

    def __init__(self, file: PeFile, rows: list[tuple[Descriptor, Array, int]], what: str) -> None:
        """``rows``: descriptors with their look-up tables and what to take off the addresses in them."""
        self.file = file
        self.descriptors: list[Descriptor]
        self.descriptor: Array
        self.slot: Array
        self.ordinal: Array
        self.hint: Array
        self.name_offsets: Array
        if all(isinstance(values, small.Column) for _, values, _ in rows) and small.wanted():
            try:
                (self.descriptors, self.descriptor, self.slot, self.ordinal, self.hint,
                 self.name_offsets) = small.import_columns(file, rows)  # fmt: skip
                return
            except small.GiveUp:
                pass
        self._read(file, rows, what)

    def _read(self, file: PeFile, rows: list[tuple[Descriptor, Array, int]], what: str) -> None:
        import numpy as np

        from rtld.pe.columns import offsets

        word = file.bits // 8
        self.descriptors = []
        first = 0
        for descriptor, values, _ in rows:
            self.descriptors.append(descriptor._replace(first=first, count=len(values)))
            first += len(values)
        counts = [d.count for d in self.descriptors]
        values = (
            np.concatenate([np.asarray(v, np.uint64) for _, v, _ in rows])
            if rows
            else np.zeros(0, np.uint64)
        )
        self.descriptor = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        starts = np.repeat(np.array([d.iat - word * d.first for d in self.descriptors], np.int64), counts)  # fmt: skip
        self.slot = starts + word * np.arange(first, dtype=np.int64)
        flag = np.uint64(1 << (file.bits - 1))
        by_ordinal = (values & flag) != 0
        self.ordinal = np.where(by_ordinal, values & np.uint64(0xFFFF), -1).astype(np.int32)
        bias = [b for _, _, b in rows]
        rvas = (values & ~flag).astype(np.int64)
        if any(bias):
            rvas = rvas - np.repeat(np.array(bias, np.int64), counts)
        self.hint = np.full(first, -1, np.int32)
        self.name_offsets = np.full(first, -1, np.int64)
        named = np.flatnonzero(~by_ordinal) if by_ordinal.any() else slice(None)
        at = offsets(file, rvas[named], 3, f"{what}, hint and name")
        octets = np.frombuffer(file.data, np.uint8)
        good = at if not len(at) or int(at.min()) >= 0 else np.maximum(at, 0)
        hints = octets[good].astype(np.int32) | octets[good + 1].astype(np.int32) << 8
        self.hint[named] = hints
        self.name_offsets[named] = np.where(at >= 0, at + 2, -1)

    def __len__(self) -> int:
        return len(self.slot)

    def name(self, row: int) -> bytes | None:
        """The name that a row asks for; None when it is an ordinal. FormatError when the file has no such string."""
        at = self.name_offsets.item(row)
        if at < 0:
            if self.ordinal.item(row) >= 0:
                return None
            raise self.file.fail("import", "name", f"row {row}", "an address inside the file")
        return self.file.string_at(at, self.file.size - at, "import, name")

    def names(self, descriptor: Descriptor) -> Iterator[bytes | int]:
        """Name, or ordinal, of each symbol of a descriptor."""
        for row in range(descriptor.first, descriptor.first + descriptor.count):
            name = self.name(row)
            yield int(self.ordinal[row]) if name is None else name


def dll_name(raw: bytes) -> str:
    """The name a descriptor means: trailing blanks do not count."""
    return raw.decode("utf-8", "surrogateescape").rstrip(" ")


def imports(file: PeFile) -> Imports:
    """The import directory of a file, decoded once; empty when it has none."""
    found = file.cache.get("imports")
    if found is None:
        found = file.cache["imports"] = Imports(file, list(_import_rows(file)), "import directory")
    return found  # type: ignore[return-value]


def _thunks(file: PeFile, rva: int, what: str) -> Array:
    """The look-up table at an address, without its zero. It also ends where the section's bytes do."""
    if small.wanted():
        try:
            return small.thunks(file, rva, what)  # type: ignore[return-value]
        except small.GiveUp:
            pass
    import numpy as np

    from rtld.pe.columns import until_zero

    at, left = file.room(rva, what)
    word = file.bits // 8
    values = np.frombuffer(file.data, f"<u{word}", left // word, at)
    return values[: until_zero(values)]


def _import_rows(file: PeFile) -> Iterator[tuple[Descriptor, Array, int]]:
    directory = file.directory(IMPORT)
    if directory is None:
        return
    what = "import directory"
    at, left = file.room(directory.rva, what)
    # The size of the directory is not looked at: a descriptor without a name or an IAT ends it (Wine, ReactOS).
    for number in range(left // _DESCRIPTOR.size):
        lookup, stamp, chain, name, iat = _DESCRIPTOR.unpack_from(
            file.data, at + number * _DESCRIPTOR.size
        )
        if not name or not iat:
            return
        dll = dll_name(file.string(name, f"{what}, Name"))
        # Borland's linker makes no look-up table; ReactOS also passes over one that is outside of the image.
        if lookup < file.size_of_headers or lookup >= file.size_of_image:
            lookup = 0
        try:
            values = _thunks(file, lookup or iat, f"{what}, look-up table of {dll}")
        except FormatError as error:
            file.complain(what, f"look-up table of {dll}", lookup or iat, error.expected)
            continue
        yield Descriptor(dll, lookup, iat, stamp, chain, 0, 0, None), values, 0
    file.complain(what, "end", "none", "a descriptor of zeros")


def delay_imports(file: PeFile) -> Imports:
    """The delay import directory of a file, decoded once; empty when it has none."""
    found = file.cache.get("delay imports")
    if found is None:
        rows = list(_delay_rows(file))
        found = file.cache["delay imports"] = Imports(file, rows, "delay import directory")
    return found  # type: ignore[return-value]


def _delay_rows(file: PeFile) -> Iterator[tuple[Descriptor, Array, int]]:
    directory = file.directory(DELAY_IMPORT)
    if directory is None:
        return
    what = "delay import directory"
    at, left = file.room(directory.rva, what)
    # GNU's tools leave the empty descriptor at the end out: the directory's size ends it, too.
    rows = directory.size // _DELAY.size or left
    for number in range(min(left // _DELAY.size, rows)):
        attributes, *fields = _DELAY.unpack_from(file.data, at + number * _DELAY.size)
        if not fields[0]:
            return
        version = 2 if attributes & 1 else 1
        bias = 0 if version == 2 else file.base
        name, handle, iat, lookup, bound, unload = [f - bias if f else 0 for f in fields[:6]]
        stamp = fields[6]
        if min(name, handle, iat, lookup, bound, unload) < 0:
            raise file.fail(what, "address", fields[0], f"one from ImageBase {file.base:#x} on")
        dll = dll_name(file.string(name, f"{what}, DllNameRVA"))
        values = _thunks(file, lookup, f"{what}, name table of {dll}")
        delay = Delay(version, handle, bound, unload, stamp)
        yield Descriptor(dll, lookup, iat, stamp, 0, 0, 0, delay), values, bias
    if rows > left // _DELAY.size:
        file.complain(what, "end", "none", "a descriptor of zeros")


def bound_imports(file: PeFile) -> list[Bound]:
    """The bound import directory: which DLLs' addresses the IAT already has, and from when those DLLs are."""
    directory = file.directory(BOUND_IMPORT)
    if directory is None:
        return []
    what = "bound import directory"
    start, left = file.room(directory.rva, what)
    result: list[Bound] = []
    at = 0
    while at + _BOUND.size <= left:
        stamp, name, references = _BOUND.unpack_from(file.data, start + at)
        if not stamp and not name:
            return result
        at += _BOUND.size
        if at + references * _BOUND.size > left:
            raise file.fail(what, "NumberOfModuleForwarderRefs", references, f"at most {(left - at) // 8}")  # fmt: skip
        forwarders = []
        for _ in range(references):
            other, other_name, _ = _BOUND.unpack_from(file.data, start + at)
            forwarders.append((_bound_name(file, start, left, other_name), other))
            at += _BOUND.size
        result.append(Bound(_bound_name(file, start, left, name), stamp, tuple(forwarders)))
    file.complain(what, "end", "none", "a descriptor of zeros")
    return result


def _bound_name(file: PeFile, start: int, left: int, offset: int) -> str:
    what = "bound import directory"
    if offset >= left:
        raise file.fail(what, "OffsetModuleName", offset, f"less than {left:#x}")
    return dll_name(file.string_at(start + offset, left - offset, what))

"""API sets: names like "api-ms-win-core-heap-l1-1-0" that mean a DLL, by a table of the system.

The table is the section .apiset of apisetschema.dll. Version 2 (Windows 7), 4 (8.1), 6 (10, 11): formats after the
public accounts of them. A name's number after its last dash does not count. An API set has a default host, and others
for particular importers.
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.file import PeFile

#: One API set: its name without number, whether it is sealed, and (importer or "", host or "") in order.
ApiSet = namedtuple("ApiSet", "name flags hosts")

PREFIXES = ("api-", "ext-")
_HASH_MASK = 0xFFFFFFFF


class ApiSets:
    """A schema: ``sets`` by name in lower case, up to the last dash (version 2: without its prefix, as in the file)."""

    __slots__ = ("name", "sets", "version")

    def __init__(self, name: str, version: int, sets: dict[str, ApiSet]) -> None:
        self.name = name
        self.version = version
        self.sets = sets

    def __len__(self) -> int:
        return len(self.sets)

    def resolve(self, dll: str, importer: str = "") -> str | None:
        """The host of an API set for that importer; "" where the set has none; None when there is no such set."""
        key = set_name(dll)
        if self.version == 2:
            key = key[4:]
        found = self.sets.get(key)
        if found is None:
            return None
        importer = importer.lower()
        default = ""
        for who, host in found.hosts:
            if who and who.lower() == importer:
                return str(host)
            if not who:
                default = host
        return default


def is_api_set(dll: str) -> bool:
    """Whether a DLL's name is that of an API set."""
    return dll[:4].lower() in PREFIXES


def set_name(dll: str) -> str:
    """What of a name counts: lower case, no ".dll", no number after the last dash."""
    name = dll.lower().removesuffix(".dll")
    return name[: name.rindex("-")] if "-" in name else name


def from_file(file: PeFile) -> ApiSets:
    """The schema of an apisetschema.dll. FormatError."""
    for section in file.sections:
        if section.name == b".apiset":
            size = min(section.filled, section.virtual_size or section.filled)
            data = bytes(file.data[section.offset : section.offset + size])
            return decode(data, file.name)
    raise file.fail("section table", ".apiset", "absent", "present")


def decode(data: bytes, name: str = "<api sets>") -> ApiSets:
    """The schema in the bytes of a section or of a PEB's ApiSetMap. FormatError."""
    reader = _Reader(data, name)
    (version,) = reader.words(0, 1, "Version")
    form = {2: _version2, 4: _version4, 6: _version6}.get(version)
    if form is None:
        raise FormatError(name, "API set schema", "Version", version, "2, 4 or 6")
    return ApiSets(name, version, form(reader))


class _Reader:
    """Checked reads of the schema's words and UTF-16 strings."""

    __slots__ = ("data", "name")

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name

    def words(self, offset: int, count: int, what: str) -> tuple[int, ...]:
        if offset + 4 * count > len(self.data):
            raise FormatError(
                self.name, "API set schema", what, offset, f"{4 * count} bytes inside the section"
            )
        return struct.unpack_from(f"<{count}I", self.data, offset)

    def text(self, offset: int, size: int) -> str:
        if offset + size > len(self.data):
            raise FormatError(
                self.name, "API set schema", "string", offset, f"{size} bytes inside the section"
            )
        return self.data[offset : offset + size].decode("utf-16-le", "replace")

    def rows(self, offset: int, count: int, words: int, what: str) -> list[tuple[int, ...]]:
        flat = self.words(offset, count * words, what)
        return [flat[i : i + words] for i in range(0, len(flat), words)]


def _version2(reader: _Reader) -> dict[str, ApiSet]:
    sets = {}
    (count,) = reader.words(4, 1, "Count")
    for at, size, values in reader.rows(8, count, 3, "entries"):
        (hosts,) = reader.words(values, 1, "hosts")
        pairs = [
            (reader.text(n, ns), reader.text(v, vs))
            for n, ns, v, vs in reader.rows(values + 4, hosts, 4, "hosts")
        ]
        key = set_name(reader.text(at, size))
        sets[key] = ApiSet(key, 0, tuple(pairs))
    return sets


def _version4(reader: _Reader) -> dict[str, ApiSet]:
    sets = {}
    (count,) = reader.words(12, 1, "Count")
    for flags, at, size, _alias, _alias_size, values in reader.rows(16, count, 6, "entries"):
        _, hosts = reader.words(values, 2, "hosts")
        pairs = [
            (reader.text(n, ns), reader.text(v, vs))
            for _, n, ns, v, vs in reader.rows(values + 8, hosts, 5, "hosts")
        ]
        # The prefix is left out in some builds of 8.1, as in version 2.
        name = reader.text(at, size).lower()
        key = set_name(name if name.startswith(PREFIXES) else f"api-{name}")
        sets[key] = ApiSet(key, flags, tuple(pairs))
    return sets


def _version6(reader: _Reader) -> dict[str, ApiSet]:
    _, _size, _flags, count, entries, _hashes, _factor = reader.words(0, 7, "header")
    sets = {}
    for flags, at, _size, hashed, values, hosts in reader.rows(entries, count, 6, "entries"):
        pairs = [
            (reader.text(n, ns), reader.text(v, vs))
            for _, n, ns, v, vs in reader.rows(values, hosts, 5, "hosts")
        ]
        key = reader.text(at, hashed).lower()
        sets[key] = ApiSet(key, flags, tuple(pairs))
    return sets


def hash_of(name: str, factor: int) -> int:
    """Version 6: the number by which a name, up to its last dash, is looked up."""
    value = 0
    for letter in name.lower():
        value = (value * factor + ord(letter)) & _HASH_MASK
    return value


def check_hashes(data: bytes, name: str = "<api sets>") -> int:
    """How many hashes of a version 6 schema there are, each found to be right and in order. FormatError."""
    reader = _Reader(data, name)
    _, _, _, count, entries, hashes, factor = reader.words(0, 7, "header")
    rows = reader.rows(entries, count, 6, "entries")
    previous = -1
    for value, index in reader.rows(hashes, count, 2, "hashes"):
        if index >= count or value < previous:
            raise FormatError(name, "API set schema", "hash entry", index, f"less than {count}, in order")  # fmt: skip
        _, at, _, hashed, _, _ = rows[index]
        if hash_of(reader.text(at, hashed), factor) != value:
            raise FormatError(name, "API set schema", "hash", value, hash_of(reader.text(at, hashed), factor))  # fmt: skip
        previous = value
    return count


def encode(sets: dict[str, list[tuple[str, str]]], factor: int = 31) -> bytes:
    """A version 6 schema of {name with its number: [(importer or "", host)]}: for systems that have none."""
    head, blob = 28, bytearray()
    names = sorted(sets)
    entries_at = head
    values_at = entries_at + 24 * len(names)
    total = sum(len(hosts) for hosts in sets.values())
    hashes_at = values_at + 20 * total
    text_at = hashes_at + 8 * len(names)

    def text(value: str) -> tuple[int, int]:
        at = text_at + len(blob)
        raw = value.encode("utf-16-le")
        blob.extend(raw)
        return at, len(raw)

    entries, values, hashes = b"", b"", []
    for index, name in enumerate(names):
        at, size = text(name)
        hashed = set_name(name)
        entries += struct.pack("<6I", 0, at, size, 2 * len(hashed), values_at + len(values), len(sets[name]))  # fmt: skip
        for importer, host in sets[name]:
            values += struct.pack("<5I", 0, *text(importer), *text(host))
        hashes.append((hash_of(hashed, factor), index))
    table = b"".join(struct.pack("<2I", *row) for row in sorted(hashes))
    size = text_at + len(blob)
    header = struct.pack("<7I", 6, size, 0, len(names), entries_at, hashes_at, factor)
    return header + entries + values + table + bytes(blob)

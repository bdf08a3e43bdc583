"""/etc/ld.so.cache: the table ldconfig writes, decoded from its bytes.

Layout: glibc sysdeps/generic/dl-cache.h. Three kinds exist: the new format alone ("glibc-ld.so.cache1.1"), the old one
alone ("ld.so-1.7.0"), and the old one with the new one behind its entries. All integers have the byte order of the
machine that wrote the file; the new header says which. The entries are sorted by ``libcmp``, so a look-up is a binary
search over the raw bytes and nothing else is decoded. Every integer is checked before it is an index.
"""

from __future__ import annotations

import os
import struct
from collections import namedtuple

from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.elf.hwcaps import Capabilities

#: One row as `ldconfig -p` prints it. ``hwcaps`` is the glibc-hwcaps subdirectory the file is in, or None.
CacheEntry = namedtuple("CacheEntry", "name path flags hwcap hwcaps isa_level")

MAGIC_OLD = b"ld.so-1.7.0"
MAGIC_NEW = b"glibc-ld.so.cache1.1"
_HEADER_NEW = 48
_HEADER_OLD = 16  # 11 bytes of magic, a pad byte, nlibs
_ENTRY_OLD = 12
_ENTRY_NEW = 24
_EXTENSION_MAGIC = 0xEAA42174
_TAG_GENERATOR = 0
_TAG_HWCAPS = 1
_ENDIAN = {0: "", 1: "invalid", 2: "<", 3: ">"}

#: In an entry's hwcap word: the low half is an index into the list of glibc-hwcaps names, bits 32-41 an ISA level.
HWCAP_EXTENSION = 1 << 62
ISA_LEVEL_MASK = 0x3FF


def _number(digits: bytes) -> int:
    """A run of digits as C's int holds it: ldconfig and ld.so let long ones overflow."""
    value = int(digits)
    if value > 0x7FFFFFFF:
        value = (value + 0x80000000) % 0x100000000 - 0x80000000
    return value


def _end_of_digits(text: bytes, start: int) -> int:
    while start < len(text) and 48 <= text[start] <= 57:
        start += 1
    return start


def libcmp(a: bytes, b: bytes) -> int:
    """The order of the cache (glibc: _dl_cache_libcmp): runs of digits by value, digits after everything else."""
    if a == b:
        return 0
    # Where they differ first: the highest byte of the two numbers' difference. Where they do not, the shorter one ends it.
    i = min(len(a), len(b))
    i -= ((int.from_bytes(a[:i], "big") ^ int.from_bytes(b[:i], "big")).bit_length() + 7) // 8
    # The texts agree up to i. If that is inside a run of digits, the whole run counts.
    start = i
    while start and 48 <= a[start - 1] <= 57:
        start -= 1
    x = a[start] if start < len(a) else 0
    y = b[start] if start < len(b) else 0
    if 48 <= x <= 57:
        if not 48 <= y <= 57:
            return 1
        end_a, end_b = _end_of_digits(a, start), _end_of_digits(b, start)
        value_a, value_b = _number(a[start:end_a]), _number(b[start:end_b])
        if value_a != value_b:
            return 1 if value_a > value_b else -1
        return libcmp(a[end_a:], b[end_b:])
    if 48 <= y <= 57:
        return -1
    # char is signed where most caches are made; outside ASCII the look-up does not rely on the order.
    return (x ^ 0x80) - (y ^ 0x80)


_ONLY_DIGITS = bytes([c if 48 <= c <= 57 else 32 for c in range(256)])


def order_key(text: bytes) -> tuple[bytes | int, ...] | None:
    """What compares as ``libcmp`` does: texts and numbers in turn. None outside ASCII, where char may be signed."""
    if not text.isascii():
        return None
    parts: list[bytes | int] = []
    at = 0
    for digits in text.translate(_ONLY_DIGITS).split():
        start = text.index(digits, at)
        parts += (text[at:start] + b"\xff", _number(digits))  # a digit comes after everything else
        at = start + len(digits)
    parts.append(text[at:])
    return tuple(parts)


class LdCache:
    """A decoded cache. ``order`` is the byte order of the programs that will use it: "<" or ">"."""

    __slots__ = (
        "_base",
        "_count",
        "_data",
        "_entries",
        "_keys",
        "_limit",
        "_order",
        "_size",
        "_unpack",
        "generator",
        "hwcaps",
        "order",
        "path",
    )

    _count: int

    def __init__(self, data: bytes, path: str = "/etc/ld.so.cache", order: str = "<") -> None:
        self.path = path
        self.order = order
        self.generator: str | None = (
            None  # who wrote it, e.g. "ldconfig (Debian GLIBC 2.36-9) stable release 2.36"
        )
        self.hwcaps: tuple[
            str, ...
        ] = ()  # names of the glibc-hwcaps subdirectories that have files in here
        self._data = bytes(data)
        self._keys: dict[
            int, bytes
        ] = {}  # the first entries a binary search visits are always the same
        self._order: dict[int, tuple[bytes | int, ...] | None] = {}
        if self._data[: len(MAGIC_NEW)] == MAGIC_NEW:
            self._read_new(0)
        elif self._data[: len(MAGIC_OLD)] == MAGIC_OLD:
            self._read_old()
        else:
            raise self._fail("header", "magic", self._data[: len(MAGIC_NEW)], MAGIC_NEW.decode())
        form = "iII" if self._size == _ENTRY_OLD else "iIIIQ"
        self._unpack = struct.Struct(order + form).unpack_from

    def __len__(self) -> int:
        return self._count

    def _fail(self, structure: str, field: str, found: object, expected: object) -> FormatError:
        return FormatError(self.path, f"ld.so.cache {structure}", field, found, expected)

    def place(self) -> tuple[bytes, int, int, int, int] | None:
        """(bytes, offset of the entries, their number, offset and size of the strings); None of the old format."""
        if self._size != _ENTRY_NEW or self.order != "<":
            return None
        return self._data, self._entries, self._count, self._base, self._limit

    # -- headers ----------------------------------------------------------------------------------

    def _read_old(self) -> None:
        data = self._data
        if len(data) < _HEADER_OLD:
            raise self._fail("header", "file size", len(data), f"at least {_HEADER_OLD}")
        (count,) = struct.unpack_from(self.order + "I", data, 12)
        if count > (len(data) - _HEADER_OLD) // _ENTRY_OLD:
            raise self._fail("header", "nlibs", count, f"entries inside the {len(data):#x} bytes")
        strings = _HEADER_OLD + count * _ENTRY_OLD
        new = (strings + 7) & -8  # the alignment of a struct with a uint64_t in it
        if data[new : new + len(MAGIC_NEW)] == MAGIC_NEW:
            self._read_new(new)
            return
        self._entries, self._size, self._count = _HEADER_OLD, _ENTRY_OLD, count
        self._base, self._limit = strings, len(data) - strings

    def _read_new(self, base: int) -> None:
        data = self._data
        if len(data) < base + _HEADER_NEW:
            raise self._fail("header", "file size", len(data), f"at least {base + _HEADER_NEW:#x}")
        flags = data[base + 28]
        endian = _ENDIAN[flags & 3]
        if endian and endian != self.order:
            names = {"<": "2 (little)", ">": "3 (big)"}
            raise self._fail("header", "byte order in flags", flags, names[self.order])
        count, _length = struct.unpack_from(self.order + "II", data, base + 20)
        if count > (len(data) - base - _HEADER_NEW) // _ENTRY_NEW:
            raise self._fail("header", "nlibs", count, f"entries inside the {len(data):#x} bytes")
        self._entries, self._size, self._count = base + _HEADER_NEW, _ENTRY_NEW, count
        self._base, self._limit = base, len(data) - base
        (extension,) = struct.unpack_from(self.order + "I", data, base + 32)
        if extension:
            self._read_extensions(extension)

    def _read_extensions(self, offset: int) -> None:
        """The extension directory: an array of (tag, flags, offset, size), offsets from the start of the file."""
        data = self._data
        size = len(data)
        if offset % 4 or offset + 8 > size:
            raise self._fail(
                "header", "extension_offset", offset, f"a multiple of 4 below {size:#x}"
            )
        magic, count = struct.unpack_from(self.order + "II", data, offset)
        if magic != _EXTENSION_MAGIC:
            raise self._fail("extension directory", "magic", magic, _EXTENSION_MAGIC)
        if count > (size - offset - 8) // 16:
            raise self._fail(
                "extension directory", "count", count, f"sections inside the {size:#x} bytes"
            )
        for i in range(count):
            tag, _flags, start, length = struct.unpack_from(
                self.order + "4I", data, offset + 8 + 16 * i
            )
            if start + length > size:
                raise self._fail(
                    "extension section", "offset + size", start + length, f"at most {size:#x}"
                )
            if tag == _TAG_GENERATOR:
                self.generator = data[start : start + length].decode("utf-8", "replace")
            elif tag == _TAG_HWCAPS:
                if start % 4 or length % 4:
                    raise self._fail(
                        "glibc-hwcaps section", "offset, size", start | length, "multiples of 4"
                    )
                names = struct.unpack_from(f"{self.order}{length // 4}I", data, start)
                # These are offsets from the start of the file, not of the new header.
                self.hwcaps = tuple(
                    [os.fsdecode(self._text(0, n, size, "hwcaps name")) for n in names]
                )

    # -- entries ----------------------------------------------------------------------------------

    def _text(self, base: int, offset: int, limit: int, field: str) -> bytes:
        if offset >= limit:
            raise self._fail("entry", field, offset, f"less than {limit:#x}")
        end = self._data.find(b"\0", base + offset)
        if end < 0:
            raise self._fail("entry", field, offset, "a string that ends in NUL")
        return self._data[base + offset : end]

    def _key(self, index: int) -> bytes:
        key = self._keys.get(index)
        if key is None:
            offset = self._unpack(self._data, self._entries + index * self._size)[1]
            key = self._keys[index] = self._text(self._base, offset, self._limit, "key")
        return key

    def entries(self) -> Iterator[CacheEntry]:
        """Every row, decoded and checked."""
        for index in range(self._count):
            row = self._unpack(self._data, self._entries + index * self._size)
            hwcap = row[4] if len(row) == 5 else 0
            name, level = None, 0
            if is_extension(hwcap):
                number = hwcap & 0xFFFFFFFF
                if number >= len(self.hwcaps):
                    raise self._fail(
                        "entry", "glibc-hwcaps index", number, f"less than {len(self.hwcaps)}"
                    )
                name, level = self.hwcaps[number], (hwcap >> 32) & ISA_LEVEL_MASK
            path = self._text(self._base, row[2], self._limit, "value")
            yield CacheEntry(
                os.fsdecode(self._key(index)), os.fsdecode(path), row[0], hwcap, name, level
            )

    def serves(self, flags: frozenset[int]) -> bool:
        """Whether any entry is for programs that accept these flags."""
        return any(
            self._unpack(self._data, self._entries + index * self._size)[0] in flags
            for index in range(self._count)
        )

    def lookup(self, name: str, cpu: Capabilities) -> str | None:
        """The path ld.so takes for ``name`` on this CPU, or None (glibc: search_cache in elf/dl-cache.c)."""
        wanted = os.fsencode(name)
        if not wanted.isascii():
            return self._best(wanted, 0, self._count - 1, cpu)
        left, right = 0, self._count - 1
        key: Any = order_key(wanted)
        known = self._order
        while left <= right:
            middle = (left + right) // 2
            other = known.get(middle)
            if other is None:
                other = known[middle] = order_key(self._key(middle))
            if other is None:
                order = libcmp(wanted, self._key(middle))
            else:
                order = (key > other) - (key < other)
            if order == 0:
                # There may be entries of this name before the one that was hit.
                while middle and libcmp(wanted, self._key(middle - 1)) == 0:
                    middle -= 1
                return self._best(wanted, middle, right, cpu)
            # The table is sorted in descending order.
            if order < 0:
                left = middle + 1
            else:
                right = middle - 1
        return None

    def _best(self, wanted: bytes, first: int, last: int, cpu: Capabilities) -> str | None:
        """The entry to prefer among [first, last] of this name: glibc-hwcaps by priority, then the first that fits."""
        best: int | None = None
        best_rank = 0
        scan = not wanted.isascii()
        for index in range(first, last + 1):
            if libcmp(wanted, self._key(index)) != 0:
                if scan:
                    continue
                break
            row = self._unpack(self._data, self._entries + index * self._size)
            flags, value = row[0], row[2]
            if flags not in cpu.cache_flags or value >= self._limit:
                continue
            hwcap = row[4] if len(row) == 5 else 0
            if is_extension(hwcap):
                rank = self._rank(hwcap, cpu)
                if rank and (best is None or rank < best_rank):
                    best, best_rank = value, rank
                continue
            # Entries of glibc-hwcaps subdirectories come first, so nothing that follows beats what was found. The old
            # format has none, and there a later entry replaces an earlier one of less specific flags.
            if best is not None and self._size == _ENTRY_NEW:
                break
            if hwcap and not cpu.accepts(hwcap):
                continue
            best = value
            if flags == cpu.cache_default:
                break
        return (
            None
            if best is None
            else os.fsdecode(self._text(self._base, best, self._limit, "value"))
        )

    def _rank(self, hwcap: int, cpu: Capabilities) -> int:
        """The priority of an entry's glibc-hwcaps subdirectory on this CPU: 1 is best, 0 not usable."""
        index = hwcap & 0xFFFFFFFF
        if index >= len(self.hwcaps) or not cpu.has_isa_level((hwcap >> 32) & ISA_LEVEL_MASK):
            return 0
        return cpu.priorities.get(self.hwcaps[index], 0)


def is_extension(hwcap: int) -> bool:
    """Whether an hwcap word is an index of a glibc-hwcaps name (glibc: dl_cache_hwcap_extension)."""
    return (hwcap >> 32) & ~ISA_LEVEL_MASK == HWCAP_EXTENSION >> 32

"""Near misses: a name that is there, but where no look-up of this program goes. For people whose symbol is missing.

Private symbols of loaded modules (.symtab), and libraries on disk that would offer the name: those in ld.so.cache and
in the directories that are searched.
"""

from __future__ import annotations

import os
import struct
from collections import namedtuple

import numpy as np

from rtld.elf import types as t
from rtld.elf.explain import BIND_NAMES, TYPE_NAMES, VISIBILITY_NAMES, Symbol, same_name
from rtld.elf.file import ElfFile
from rtld.elf.scalar import gnu_hash
from rtld.elf.tables import symbols
from rtld.errors import FormatError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.core.module import Module, Namespace

#: One near miss: path of the file, the symbol as nm writes it (or the library's name), what stands in the way.
NearMiss = namedtuple("NearMiss", "path name reason")


def near_misses(ns: Namespace, name: str, requester: Module | None) -> list[NearMiss]:
    """Where else the symbol is: private in a loaded module, or in a library that is not loaded."""
    result = []
    for module in ns.modules:
        kind = hidden_in_symtab(module.file, name)
        if kind is not None and not any(
            _offered(module, i) for i in same_name(module.file, os.fsencode(name))
        ):
            result.append(
                NearMiss(module.path, name, f"private to the module ({kind}): not exported")
            )
    loaded = {module.file.identity for module in ns.modules}
    for path in libraries(ns, requester):
        found = _probe(ns, path, name, loaded)
        if found is not None:
            result.append(NearMiss(path, found, "in a library that is not loaded"))
    return result


def _offered(module: Module, index: int) -> bool:
    return Symbol(module, index, "").defined


def near_libraries(ns: Namespace, name: str, requester: Module | None) -> list[NearMiss]:
    """Libraries whose name differs from a missing one in the version behind ".so" or in case only."""
    stem = name.rpartition("/")[2].partition(".so")[0].lower()
    result = []
    for path in libraries(ns, requester, wanted=stem):
        base = path.rpartition("/")[2]
        if base != name:
            result.append(
                NearMiss(
                    path, base, "another version" if base.startswith(stem) else "a similar name"
                )
            )
    return result


def libraries(ns: Namespace, requester: Module | None, wanted: str | None = None) -> Iterator[str]:
    """Paths of the libraries a search could meet, each once; with ``wanted`` only those of that stem."""
    seen: set[tuple[int, int]] = set()
    for path in _paths(ns, requester):
        base = path.rpartition("/")[2]
        if ".so" not in base or (wanted is not None and base.partition(".so")[0].lower() != wanted):
            continue
        try:
            status = os.stat(ns.search.host(path))
        except (OSError, ValueError):
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield path


def _paths(ns: Namespace, requester: Module | None) -> Iterator[str]:
    search = ns.search
    for directory in _directories(ns, requester):
        try:
            names = sorted(os.listdir(search.host(directory)))
        except OSError:
            continue
        for name in names:
            yield f"{directory.rstrip('/')}/{name}"
    if ns.model != "musl" and search.cache is not None:
        try:
            for entry in search.cache.entries():
                yield os.fsdecode(entry.path) if isinstance(entry.path, bytes) else entry.path
        except FormatError:
            return


def _directories(ns: Namespace, requester: Module | None) -> Iterator[str]:
    """RPATH and RUNPATH of the requester and the program, LD_LIBRARY_PATH, the default directories; the program's own."""
    search = ns.search
    if ns.main.file.path is not None:
        yield ns.main.path.rpartition("/")[0] or "."
    for module in dict.fromkeys((requester or ns.main, ns.main)):
        for text in (module.file.rpath, module.file.runpath):
            for element in (text or "").split(":"):
                try:
                    directory = search.expand(element, module)
                except NotFound:
                    continue
                if directory:
                    yield directory
    path = search.options.library_path or search.env.get("LD_LIBRARY_PATH") or ""
    yield from [element for element in path.replace(";", ":").split(":") if element]
    yield from search.default_directories


def _probe(ns: Namespace, path: str, name: str, loaded: set[tuple[int, int] | None]) -> str | None:
    """The symbol as ``path`` spells it, if it is a library for this program that defines it."""
    from rtld.core.module import Module

    main = ns.main.file
    try:
        file = ElfFile(ns.search.host(path))
        if (file.machine, file.bits, file.order) != (
            main.machine,
            main.bits,
            main.order,
        ) or file.identity in loaded:
            return None
        if not may_have(file, os.fsencode(name)):
            return None
        module = Module(file, path)
        found = [Symbol(module, i, name) for i in same_name(file, os.fsencode(name))]
    except (FormatError, OSError):
        return None
    defined = [s for s in found if s.defined and s.section != t.SHN_UNDEF]
    return defined[0].spelled if defined else None


def may_have(file: ElfFile, name: bytes) -> bool:
    """What the Bloom filter and buckets of .gnu.hash say of a name, by a few reads; True where there is none."""
    dynamic = file.dynamic
    if dynamic is None:
        return False
    if t.DT_GNU_HASH not in dynamic:
        return t.DT_HASH in dynamic
    word = file.bits // 8
    offset = file.file_offset(dynamic[t.DT_GNU_HASH], 16, "DT_GNU_HASH")
    nbuckets, _first, nbloom, shift = struct.unpack_from(file.order + "4I", file.data, offset)
    if not nbloom or not nbuckets:
        return False
    file.file_offset(dynamic[t.DT_GNU_HASH], 16 + nbloom * word + 4 * nbuckets, "DT_GNU_HASH")
    h = gnu_hash(name)
    at = offset + 16 + (h // file.bits % nbloom) * word
    (bits,) = struct.unpack_from(file.order + ("Q" if word == 8 else "I"), file.data, at)
    if not bits >> (h % file.bits) & bits >> ((h >> (shift & 31)) % file.bits) & 1:
        return False
    (bucket,) = struct.unpack_from(
        file.order + "I", file.data, offset + 16 + nbloom * word + 4 * (h % nbuckets)
    )
    return bool(bucket)


def hidden_in_symtab(file: ElfFile, name: str) -> str | None:
    """What .symtab says of a name that .dynsym does not offer: "LOCAL FUNC", "HIDDEN FUNC"; None if not there.

    The section headers are no part of what is loaded, may be absent or lies: nothing found is no error.
    """
    data, order = file.data, file.order
    wide = file.bits == 64
    try:
        (shoff,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 40 if wide else 32)
        entsize, count = struct.unpack_from(order + "HH", data, 58 if wide else 46)
        form = struct.Struct(order + ("IIQQQQIIQQ" if wide else "10I"))
        if not shoff or entsize != form.size or shoff + entsize * count > file.size:
            return None
        heads = [form.unpack_from(data, shoff + i * entsize) for i in range(count)]
        table = next((h for h in heads if h[1] == 2), None)
        if table is None or table[6] >= count:
            return None
        strings = heads[table[6]]
        text = bytes(data[strings[4] : strings[4] + strings[5]])
        wanted = b"\0" + os.fsencode(name) + b"\0"
        at = text.find(wanted)
        if at < 0:
            return None
        dtype = symbols(file).dtype
        column = np.frombuffer(data, dtype, table[5] // dtype.itemsize, table[4])
        for entry in column[column["st_name"] == at + 1]:
            if entry["st_shndx"] != t.SHN_UNDEF:
                info, other = int(entry["st_info"]), int(entry["st_other"]) & 3
                kind = VISIBILITY_NAMES[other] if other else BIND_NAMES.get(info >> 4, "")
                return f"{kind} {TYPE_NAMES.get(info & 15, '')}".strip()
    except (struct.error, ValueError, IndexError):
        return None
    return None

"""Our relocated images against the memory of a process that ld.so has just relocated, word by word.

Everything writable is compared, not RELRO alone. Apart are only:

ifunc     places that an IFUNC's resolver fills: the address it chose must be code of the resolver's module, or of the vDSO; and
          the COPYs of such places
tlsdesc   the two words of a TLS descriptor: the second must be the offset we know, the first is ld.so's function
dynamic   the dynamic section, whose addresses ld.so makes absolute in place, and DT_DEBUG
libc      words of libc.so outside RELRO that no relocation fills and ld.so or libc's early start sets: the CPU's cache
          sizes, the default stack size, "single threaded", malloc's tunables; also the program's COPY of such a word
ld.so     the dynamic linker's own words: it relocates itself and then keeps its state there
"""

from __future__ import annotations

import os
import struct
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from live.stopped import Stopped, environment
from rtld.core.module import Module, Namespace
from rtld.elf import types as t
from rtld.elf.file import ElfFile, Segment
from rtld.elf.link import bind, find_closure, open_namespace, relocate
from rtld.elf.search import SearchOptions
from rtld.elf.waiting import Copy

# What elf/get-dynamic-info.h adds the load bias to.
_ADDRESSES = {
    t.DT_HASH, t.DT_PLTGOT, t.DT_STRTAB, t.DT_SYMTAB, t.DT_RELA, t.DT_REL, t.DT_JMPREL, t.DT_VERSYM, t.DT_GNU_HASH,
    t.DT_RELR,
}  # fmt: skip


class Comparison:
    """Counts of words by what they are, and the words that differ."""

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()
        self.differences: list[str] = []

    def differ(self, module: Module, vaddr: int, theirs: int, ours: int, what: str = "") -> None:
        self.differences.append(
            f"{module.path}: {vaddr:#x}: ld.so {theirs:#x}, rtld {ours:#x} {what}"
        )


def link_like(process: Stopped, preload: str) -> Namespace:
    """The same program, linked by us to the addresses it has in the process."""
    path = process.path
    file = ElfFile(path)
    ns = open_namespace(file, path, SearchOptions(env=environment(preload)))
    find_closure(ns, file, path)
    bind(ns)
    ours = [os.path.realpath(module.path) for module in ns.modules]
    assert ours == [os.path.realpath(module.path) for module in process.modules]
    for module, loaded in zip(ns.modules, process.modules, strict=True):
        module.base = loaded.base
    return relocate(ns)


def compare(process: Stopped, ns: Namespace) -> Comparison:
    """Every word of every writable segment."""
    result = Comparison()
    ifuncs = {ifunc.place: ifunc for ifunc in ns.ifuncs}
    descriptors = {d.place: d for d in ns.descriptors}
    vdso = process.vdso()
    copied = {
        copy.module.base + copy.place + at: copy
        for copy in ns.copies
        for at in range(-copy.place % 8, copy.size, 8)
    }
    for module in ns.modules:
        if module is ns.interp:
            result.words["ld.so"] += sum(load.memsz for load in module.file.loads) // 8
            continue
        for load in module.image.segments if module.image is not None else ():
            begin = load.vaddr + -(module.base + load.vaddr) % 8
            size = (load.vaddr + load.memsz - begin) // 8 * 8
            live = process.array(module.base + begin, size).view("<u8")
            mine: NDArray[np.uint64] = np.array(module.image.view(begin, size)).view("<u8")
            relro = module.file.segment(t.PT_GNU_RELRO)
            result.words["all"] += len(live)
            result.words["relro"] += _overlap(relro, begin, size) // 8
            for index in np.flatnonzero(live != mine).tolist():
                vaddr = begin + 8 * index
                theirs, ours = int(live[index]), int(mine[index])
                place = module.base + vaddr
                if place in ifuncs:
                    result.words["ifunc"] += 1
                    owner = _owner(ns, ifuncs[place].resolver)
                    if not _is_code(theirs, owner) and theirs not in vdso:
                        result.differ(module, vaddr, theirs, ours, "is not code of the resolver's")
                elif place in descriptors or place - 8 in descriptors:
                    result.words["tlsdesc"] += 1
                    _check_descriptor(result, ns, module, descriptors, place, theirs)
                elif place in copied:
                    what = _kind_of_copy(ns, copied[place])
                    result.words[what] += 1
                    if what == "other":
                        result.differ(module, vaddr, theirs, ours, "in a COPY")
                elif _overlap(module.file.segment(t.PT_DYNAMIC), vaddr, 8):
                    result.words["dynamic"] += 1
                    _check_dynamic(result, process, module, vaddr, theirs, ours)
                elif (
                    _is_libc(module)
                    and not _overlap(relro, vaddr, 8)
                    and ours == _stored(module, load, vaddr)
                ):
                    result.words["libc"] += 1
                else:
                    result.differ(module, vaddr, theirs, ours)
    return result


def _is_libc(module: Module) -> bool:
    return (module.soname or "").startswith("libc.so.")


def _kind_of_copy(ns: Namespace, copy: Copy) -> str:
    if copy.definer is ns.interp:
        return "ld.so"
    return "libc" if _is_libc(copy.definer) else "other"


def _overlap(segment: Segment | None, begin: int, size: int) -> int:
    if segment is None:
        return 0
    end = min(begin + size, segment.vaddr + segment.memsz)
    common: int = max(0, end - max(begin, segment.vaddr))
    return common


def _stored(module: Module, load: Segment, vaddr: int) -> int:
    """The word as the file has it: no relocation filled it."""
    at = vaddr - load.vaddr
    data = bytes(module.file.data[load.offset : load.offset + load.filesz])[at : at + 8]
    return int.from_bytes(data, "little")


def _owner(ns: Namespace, address: int) -> Module:
    return next(
        module
        for module in ns.modules
        if any(0 <= address - module.base - load.vaddr < load.memsz for load in module.file.loads)
    )


def _is_code(address: int, module: Module) -> bool:
    return any(
        load.flags & t.PF_X and 0 <= address - module.base - load.vaddr < load.memsz
        for load in module.file.loads
    )


def _check_descriptor(
    result: Comparison,
    ns: Namespace,
    module: Module,
    descriptors: dict[int, object],
    place: int,
    theirs: int,
) -> None:
    found = descriptors.get(place)
    if found is not None:
        assert ns.interp is not None
        if not _is_code(theirs, ns.interp):
            result.differ(module, place - module.base, theirs, 0, "is not code of ld.so")
        return
    found = descriptors[place - 8]
    offset, addend = found.offset, found.addend  # type: ignore[attr-defined]
    ours = ((offset or 0) + addend) & 0xFFFFFFFFFFFFFFFF
    if theirs != ours:
        result.differ(module, place - module.base, theirs, ours, "is another offset")


def _check_dynamic(
    result: Comparison, process: Stopped, module: Module, vaddr: int, theirs: int, ours: int
) -> None:
    (tag,) = struct.unpack("<q", process.read(module.base + vaddr - 8, 8))
    if tag == t.DT_DEBUG or (tag in _ADDRESSES and theirs == module.base + ours):
        return
    result.differ(module, vaddr, theirs, ours, f"(dynamic section, tag {tag:#x})")

"""Addresses: where everything is in the image, which pages have which protection, which PT_LOADs there are.

    head     ELF header, program headers, PT_INTERP, notes; 64 KiB, so that they may grow
    program  the program's own segments, as they are
    libs     the other modules, page after page, in scope order: ONE readable and executable PT_LOAD
    code     start-up code, trampolines
    relro    dynamic section, import slots, DT_FINI_ARRAY, names
    data     COPY slots
    tables   symbols, hashes, versions, relocations, .eh_frame_hdr, the start-up plan, manifest

Linux before 6.17 takes at most 73 program headers, so the pages of the libraries get their protections from the start-up
code (``few``). PT_LOADs leave no gaps: only then does glibc take the whole range for one object when it unwinds
(_dl_find_object, l_contiguous). A place in the file is an address minus the base: gaps are holes of the file.
"""

from __future__ import annotations

import os
import secrets
import struct
from itertools import pairwise

import numpy as np

from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.load import has_text_relocations
from rtld.elf.tables import tables
from rtld.errors import NoSpace, Unsupported
from rtld.frozen.plan import HEAD, PAGE, Load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from rtld.core.module import Module
    from rtld.elf.file import ElfFile, Segment
    from rtld.frozen.plan import Plan

R, W, X = 1, 2, 4  # PROT_*
_LIMIT = 1 << 31  # .eh_frame_hdr and the trampolines reach 2 GiB
_ALIGN = 1 << 21  # what a PT_LOAD's alignment is honoured up to
_LARGE = 1 << 16  # a .bss from this size on is anonymous memory, not part of the file
_REPRODUCIBLE = 0x1234_5678_0000


def place_modules(plan: Plan) -> None:
    """Give every module its base, one behind the other."""
    main = plan.main
    low, _high = main.file.span
    if plan.options.addresses and main.file.type != t.ET_EXEC and not plan.pie:
        _place_in_epoch(plan, plan.options.addresses)
        return
    if main.file.type == t.ET_EXEC:
        if plan.options.addresses:
            plan.warnings.append(
                f"{main.path}: linked for {low:#x}, out of reach of the epoch's addresses"
            )
        plan.base = low - HEAD
        if plan.base < HEAD:
            raise NoSpace(
                f"{main.path}: linked at {low:#x}, which leaves no room before it for the headers"
            )
    else:
        plan.base = _choose_base(plan)
        main.base = _aligned(plan.base + HEAD, main) - low
    at = page_up(main.base + main.file.span[1])
    plan.libraries = at
    for module in plan.fused[1:]:
        low, high = module.file.span
        begin = _aligned(at, module)
        module.base = begin - low
        at = page_up(module.base + high)
        if at - plan.base > _LIMIT:
            raise NoSpace(
                f"{main.path}: the modules together need more than 2 GiB; --keep leaves some to ld.so"
            )
    plan.code = at


def _place_in_epoch(plan: Plan, addresses: Mapping[str, int]) -> None:
    """Libraries where the registry says, the program before the first of them, the rest behind the last."""
    known = {module: addresses.get(os.path.abspath(module.path)) for module in plan.fused[1:]}
    placed = sorted((address, m.index, m) for m, address in known.items() if address is not None)
    main = plan.main
    low, high = main.file.span
    size = HEAD + page_up(high - low) + min(main.file.max_align, _ALIGN)
    first = placed[0][0] if placed else 1 << 45
    plan.base = (first - size) & -PAGE
    main.base = _aligned(plan.base + HEAD, main) - low
    plan.libraries = page_up(main.base + high)
    at = plan.libraries
    for address, _index, module in placed:
        extent = page_up(module.file.span[1]) - module.file.span[0]
        if address >= at and address + extent - plan.base <= _LIMIT // 2:
            module.base = address - module.file.span[0]
            at = address + extent
        else:
            known[module] = None
    for module, given in known.items():
        if given is None:
            if placed:
                plan.warnings.append(f"{module.path}: has no place in the epoch")
            begin = _aligned(at, module)
            module.base = begin - module.file.span[0]
            at = page_up(module.base + module.file.span[1])
    plan.code = at


def _choose_base(plan: Plan) -> int:
    if plan.options.pie:
        return 0
    if plan.options.base is not None:
        return int(plan.options.base) & -PAGE
    if plan.options.reproducible:
        return _REPRODUCIBLE
    return (1 << 44) + secrets.randbelow((1 << 44) - (1 << 32)) & -PAGE


def _aligned(address: int, module: Module) -> int:
    align = min(module.file.max_align, _ALIGN)
    low = module.file.span[0]
    aligned: int = address + -(address - low) % align
    return aligned


def place_parts(plan: Plan, code: int, relro: int, data: int) -> None:
    """Addresses of the new parts, of which the sizes are given; the tables come last and may take what they need."""
    plan.code_size = code
    plan.relro = page_up(plan.code + code)
    plan.data = page_up(plan.relro + relro)
    plan.got = (plan.data + data + 15) & -16
    slots = 24 + 8 * len(plan.imports.module) if plan.lazy else 1
    plan.tables = page_up(plan.got + slots)


def largest_alignment(plan: Plan) -> int:
    """What the base of a position-independent image must be a multiple of, so that all modules stand as they want to."""
    aligns: list[int] = [module.file.max_align for module in plan.fused]
    return min(max(aligns), _ALIGN)


class Protections:
    """The protection of each page of the image: as the kernel maps it, until the start-up code is done, and then."""

    def __init__(self, plan: Plan) -> None:
        self.base = plan.base
        pages = (page_up(plan.code) - plan.base) // PAGE
        self.mapped: NDArray[np.uint8] = np.full(pages, R | X, np.uint8)
        self.first: NDArray[np.uint8] = np.full(pages, R | X, np.uint8)
        self.final: NDArray[np.uint8] = np.full(pages, R | X, np.uint8)
        for module in plan.fused:
            self._add(plan, module)
        places = plan.written_places() - plan.base
        self.first[places // PAGE] = R | W
        self.first[(places + 7) // PAGE] = R | W
        if plan.options.many:
            self.mapped[:] = self.first

    def _pages(self, start: int, end: int) -> slice:
        return slice((start - self.base) // PAGE, (page_up(end) - self.base) // PAGE)

    def _add(self, plan: Plan, module: Module) -> None:
        thin = is_thin(plan, module)
        for number, load in enumerate(module.file.loads):
            pages = self._pages(module.base + load.vaddr, module.base + load.vaddr + load.memsz)
            wanted = R if load.flags & t.PF_R else 0
            wanted |= W if load.flags & t.PF_W else 0
            wanted |= X if load.flags & t.PF_X else 0
            if (
                number == 0
                and module is not plan.main
                and not thin
                and only_tables(module.file, load)
            ):
                wanted = R | X  # nobody reads it any more: not worth a mapping of its own
            self.first[pages] = self.final[pages] = wanted
            if module is plan.main or (thin and not wanted & W):
                self.mapped[pages] = wanted
        relro = module.file.segment(t.PT_GNU_RELRO)
        if relro is not None:
            begin = module.base + (relro.vaddr & -PAGE)
            end = module.base + (relro.vaddr + relro.memsz & -PAGE)
            if begin < end:
                pages = self._pages(begin, end)
                self.final[pages] = R
                if module is not plan.main:
                    self.first[pages] = R

    def steps(self) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """(before, after) what the start-up code writes: rows of (offset from the base, size, PROT_*)."""
        return _changes(self.mapped, self.first, W), _changes(
            np.where((self.first != self.mapped) & (self.first & W != 0), self.first, self.mapped),
            self.final,
            0,
        )


def _changes(
    old: NDArray[np.uint8], new: NDArray[np.uint8], only: int
) -> list[tuple[int, int, int]]:
    """Runs of pages whose protection changes to the same new one; with *only*, those that get that bit."""
    wanted = np.where((old != new) & ((new & only) == only), new, 0)
    edges = np.flatnonzero(np.diff(wanted, prepend=0, append=0))
    rows = []
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if wanted[begin]:
            rows.append((begin * PAGE, (end - begin) * PAGE, int(wanted[begin])))
    return rows


def only_tables(file: ElfFile, load: Segment) -> bool:
    """Whether a read-only segment has nothing but what a dynamic linker reads."""
    if load.flags & (t.PF_W | t.PF_X):
        return False
    covered = sum(end - begin for begin, end in dead_ranges(file, load))
    rest = load.filesz - covered - 64 - 56 * file.phnum
    rest -= sum(s.filesz for s in file.segments if s.type in (t.PT_NOTE, t.PT_GNU_PROPERTY))
    return bool(rest <= 64)


def dead_ranges(file: ElfFile, load: Segment) -> list[tuple[int, int]]:
    """File ranges of *load* that hold tables of the dynamic linker: nobody reads them once all is bound."""
    table = tables(file)
    base = table.base
    ranges = [
        (run.position - base, run.position - base + run.count * run.entsize) for run in table.relocs
    ]
    ranges.append((table.symtab - base, table.symtab - base + table.syment * table.nsyms))
    if file.dynamic is not None and t.DT_STRTAB in file.dynamic:
        start, size = file.strings()
        ranges.append((start, start + size))
    if table.versym >= 0:
        ranges.append((table.versym - base, table.versym - base + 2 * table.nsyms))
    if table.chains_count:
        offset = table.gnu[0]
        ranges.append((offset, table.chains - base + 4 * table.chains_count))
    ranges += _version_ranges(file)
    inside = sorted(
        (begin, end)
        for begin, end in ranges
        if load.offset <= begin < end <= load.offset + load.filesz
    )
    result: list[tuple[int, int]] = []
    for begin, end in inside:
        if result and begin <= result[-1][1] + 64:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((begin, end))
    return result


def _version_ranges(file: ElfFile) -> list[tuple[int, int]]:
    """DT_VERNEED, DT_VERDEF and DT_HASH, as far as their sizes are known without following every link of them."""
    dynamic, table = file.dynamic, tables(file)
    ranges = []
    if dynamic is None:
        return []
    files = len({need.file for need in table.needs})
    # fmt: off
    for tag, size in (
        (t.DT_VERNEED, 16 * files + 16 * len(table.needs)),
        (t.DT_VERDEF, sum(20 + 8 * (1 + len(d.parents)) for d in table.verdefs)),
    ):
        if tag in dynamic and size:
            start = file.file_offset(dynamic[tag], size)
            ranges.append((start, start + size))
    # fmt: on
    if t.DT_HASH in dynamic:
        start = file.file_offset(dynamic[t.DT_HASH], 8)
        buckets, chains = struct.unpack_from("<II", file.data, start)
        ranges.append((start, start + 8 + 4 * (buckets + chains)))
    return ranges


def is_thin(plan: Plan, module: Module) -> bool:
    """Whether the module's code and constants stay in its own file."""
    result: bool = (
        plan.options.thin
        and module is not plan.main
        and module.file.path is not None
        and not has_text_relocations(module)
    )
    return result


def large_bss(plan: Plan) -> Iterator[tuple[int, int]]:
    """(address, size) of whole pages of the libraries that are zero at the start, where they are many."""
    for module in plan.fused[1:]:
        for load in module.file.loads:
            begin = page_up(module.base + load.vaddr + load.filesz)
            end = page_up(module.base + load.vaddr + load.memsz)
            if load.flags & t.PF_W and end - begin >= _LARGE:
                yield begin, end - begin


def program_headers(plan: Plan, protections: Protections) -> list[Load]:
    """The PT_LOADs, without gaps."""
    base = plan.base
    main = plan.main
    loads: list[Load] = []
    starts = [main.base + (load.vaddr & -PAGE) for load in main.file.loads]
    loads.append(Load(t.PF_R, base, starts[0], starts[0]))
    ends = [*starts[1:], plan.libraries]
    for load, start, end in zip(main.file.loads, starts, ends, strict=True):
        last = page_up(main.base + load.vaddr + load.memsz)
        if load.memsz > load.filesz:
            stored = main.base + max(load.vaddr + load.filesz, _copied_end(plan, load))
            loads.append(Load(load.flags, start, stored, last))
            if last < end:
                loads.append(Load(t.PF_R, last, end, end))
        else:
            loads.append(Load(load.flags, start, end, end))
    if plan.libraries < plan.code:
        edges = [0, (plan.code - plan.libraries) // PAGE]
        first = (plan.libraries - base) // PAGE
        mapped = protections.mapped[first:]
        if plan.options.many:
            edges = [0, *(np.flatnonzero(np.diff(mapped)) + 1).tolist(), len(mapped)]
        for begin, stop in pairwise(edges):
            start, end = plan.libraries + begin * PAGE, plan.libraries + stop * PAGE
            prot = int(mapped[begin]) if plan.options.many else R | X
            loads.append(Load(_flags(prot), start, end, end))
    loads += [
        Load(t.PF_R | t.PF_X, plan.code, plan.relro, plan.relro),
        Load(t.PF_R | t.PF_W, plan.relro, plan.tables, plan.tables),
        Load(t.PF_R, plan.tables, plan.end, plan.end),
    ]
    loads = _joined(loads)
    if 64 + 56 * (len(loads) + 8) > HEAD:
        raise Unsupported(
            f"{len(loads)} segments are more than ELF headers here may have",
            "--many wants fewer libraries",
        )
    return loads


def _joined(loads: list[Load]) -> list[Load]:
    """Neighbours with the same protection as one: a mapping less at each start."""
    result = loads[:1]
    for load in loads[1:]:
        last = result[-1]
        if last.flags == load.flags and last.stored == last.end == load.start:
            result[-1] = Load(load.flags, last.start, load.stored, load.end)
        else:
            result.append(load)
    return result


def _copied_end(plan: Plan, load: Segment) -> int:
    """Where the last thing ends that a COPY relocation has put into the program's .bss from the image itself."""
    ends = [copy.place + copy.size for copy in plan.ns.copies if copy.definer.image is not None]
    return max([end for end in ends if load.vaddr <= end <= load.vaddr + load.memsz], default=0)


def _flags(prot: int) -> int:
    return (t.PF_R if prot & R else 0) | (t.PF_W if prot & W else 0) | (t.PF_X if prot & X else 0)

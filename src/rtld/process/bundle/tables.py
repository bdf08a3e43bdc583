"""What the guest's ld.so reads of a bundle: symbols, versions, relocations, initialisers, the dynamic section.

On MIPS a word that names a symbol gets what the symbol's word in the global offset table says (MIPS psABI supplement,
chapter 5), so the bundle has one with a word for each symbol it asks for; these symbols stand last.
"""

from __future__ import annotations

import os
import struct

from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.relocate import read_memory
from rtld.errors import Unsupported
from rtld.process.bundle.encode import Encoder, Strings
from rtld.process.bundle.plan import Load
from rtld.process.bundle.symbols import Symbols, ask, offer, soname_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module
    from rtld.process.bundle.plan import Bundle

PT_MIPS_ABIFLAGS = 0x7000_0003


class Part:
    """Pieces one behind the other."""

    def __init__(self, bundle: Bundle, address: int) -> None:
        self.bundle = bundle
        self.at = address

    def add(self, data: bytes, align: int = 16) -> int:
        """Put *data* next; its address."""
        self.at += -self.at % align
        address = self.at
        self.bundle.put(address, data)
        self.at += len(data)
        return address


def make_tables(bundle: Bundle) -> None:
    """Everything behind the modules; afterwards every byte is known."""
    from rtld.process.bundle.names import make_names
    from rtld.process.bundle.unwind import merged_exidx, merged_table

    encoder = Encoder(bundle.main.file, bundle.arch)
    symbols = Symbols(encoder)
    offered = offer(bundle, symbols)
    first_asked = len(symbols.rows)
    asked = ask(bundle, symbols)
    # What is written while the process runs, and what ld.so writes.
    part = Part(bundle, bundle.modules_end)
    start = part.at
    entries = _needed(bundle, symbols.strings)
    _put_arrays(bundle, part, entries)
    _put_tls(bundle, part)
    if bundle.arch.implicit_got is not None:
        _put_got(bundle, part, symbols, first_asked, entries)
    room = len(encoder.dynamic(entries)) + 16 * (20 + len(bundle.fused))
    dynamic_at = part.add(bytes(room))
    data_end = page_up(part.at, bundle.page)
    # What is only read.
    part = Part(bundle, data_end)
    records = _records(bundle, encoder, offered, asked)
    verneed, files = symbols.versions.table(bundle.order, symbols.strings)
    runpath = _run_path(bundle)
    if runpath:
        entries.append((t.DT_RUNPATH, symbols.strings.add(os.fsencode(runpath))))
    entries += [
        (t.DT_HASH, part.add(encoder.hash(symbols.names))),
        (t.DT_SYMTAB, part.add(b"".join(symbols.rows))),
        (t.DT_SYMENT, encoder.symsize),
    ]
    if files:
        versym = struct.pack(f"{bundle.order}{len(symbols.versym)}H", *symbols.versym)
        entries += [
            (t.DT_VERSYM, part.add(versym)), (t.DT_VERNEED, part.add(verneed)), (t.DT_VERNEEDNUM, files),
        ]  # fmt: skip
    if records:
        tags = (
            (t.DT_RELA, t.DT_RELASZ, t.DT_RELAENT)
            if bundle.arch.uses_rela
            else (t.DT_REL, t.DT_RELSZ, t.DT_RELENT)
        )
        entries += zip(tags, (part.add(records), len(records), encoder.relsize), strict=True)
    entries += [(t.DT_FLAGS, t.DF_BIND_NOW), (t.DT_FLAGS_1, t.DF_1_NOW)]
    if bundle.arch.implicit_got is None:
        entries.append((t.DT_DEBUG, 0))
    table = merged_table(bundle, part.at + -part.at % 16)
    if table:
        bundle.segments[t.PT_GNU_EH_FRAME] = (part.add(table), len(table), len(table), 4)
    table = merged_exidx(bundle, part.at + -part.at % 16)
    if table:
        bundle.segments[t.PT_ARM_EXIDX] = (part.add(table), len(table), len(table), 4)
    for path in make_names(bundle):
        entries.append((t.DT_NEEDED, symbols.strings.add(os.fsencode(path))))
    strings_at = part.add(bytes(symbols.strings.data))
    entries += [(t.DT_STRTAB, strings_at), (t.DT_STRSZ, len(symbols.strings.data))]
    dynamic = encoder.dynamic(entries)
    assert len(dynamic) <= room
    bundle.put(dynamic_at, dynamic)
    bundle.segments[t.PT_DYNAMIC] = (dynamic_at, len(dynamic), len(dynamic), bundle.word)
    _keep_abi(bundle)
    bundle.end = page_up(part.at, bundle.page)
    bundle.loads = [
        Load(t.PF_R | t.PF_W, start, data_end),
        Load(t.PF_R, data_end, bundle.end),
    ]


# -- relocations ----------------------------------------------------------------------------------------


def _records(
    bundle: Bundle, encoder: Encoder, offered: dict[int, int], asked: dict[int, int]
) -> bytes:
    """DT_RELA or DT_REL: open words, copies, IFUNCs last."""
    types = bundle.arch.reloc_types
    rows = [
        (_in_tls(bundle, row.place), asked.get(row.reference, 0), row.type, row.addend)
        for row in bundle.open
    ]
    rows += [
        (row.place, offered[row.symbol], types.copy, 0)
        for row in bundle.copied
        if row.symbol in offered
    ]
    rows += [
        (_in_tls(bundle, row.place), 0, types.irelative, row.resolver) for row in bundle.chosen
    ]
    if rows and bundle.arch.implicit_got is not None:
        rows.insert(0, (0, 0, types.none, 0))  # as linkers for MIPS begin
    return b"".join(encoder.relocation(*row) for row in rows)


def _in_tls(bundle: Bundle, place: int) -> int:
    """A word of a thread-local variable's first value stands in the common block."""
    for module in bundle.ns.tls.modules:
        segment = module.file.segment(t.PT_TLS)
        offset = place - module.base - segment.vaddr
        if 0 <= offset < segment.filesz:
            return int(bundle.segments[t.PT_TLS][0] + module.tls_block + offset)
    return place


# -- data -----------------------------------------------------------------------------------------------


def _needed(bundle: Bundle, strings: Strings) -> list[tuple[int, int]]:
    return [(t.DT_NEEDED, strings.add(soname_of(module))) for module in bundle.hosted]


def _array(module: Module, tag: int, size_tag: int) -> list[int]:
    """The functions of an array of initialisers, as relocated."""
    dynamic, word = module.file.dynamic, module.file.bits // 8
    count = (dynamic.get(size_tag) or 0) // word
    if not dynamic.get(tag) or not count:
        return []
    data = read_memory(module, dynamic[tag], count * word).tobytes()
    letter = "Q" if word == 8 else "I"
    return [f for f in struct.unpack(f"{module.file.order}{count}{letter}", data) if f]


def initialisers(module: Module) -> list[int]:
    """DT_INIT, DT_INIT_ARRAY."""
    function = module.file.dynamic.get(t.DT_INIT)
    own = [module.base + function] if function else []
    return own + _array(module, t.DT_INIT_ARRAY, t.DT_INIT_ARRAYSZ)


def terminators(module: Module) -> list[int]:
    """What runs at the end, to be run from the last: DT_FINI comes after DT_FINI_ARRAY."""
    function = module.file.dynamic.get(t.DT_FINI)
    own = [module.base + function] if function else []
    return own + _array(module, t.DT_FINI_ARRAY, t.DT_FINI_ARRAYSZ)


def _put_arrays(bundle: Bundle, part: Part, entries: list[tuple[int, int]]) -> None:
    """Initialisers, the libraries' first. Where libc does not run those of the program (before 2.34 its own code did), the
    libraries' are DT_PREINIT_ARRAY.
    """
    from rtld.process.emulated.initialisers import start_version

    main, encoder = bundle.main, Encoder(bundle.main.file, bundle.arch)
    libraries = [
        function
        for module in bundle.ns.init_order
        if not module.hosted and module is not main
        for function in initialisers(module)
    ]
    before = _array(main, t.DT_PREINIT_ARRAY, t.DT_PREINIT_ARRAYSZ)
    if start_version(bundle.ns) == "GLIBC_2.34":
        inits = libraries + initialisers(main)
    else:
        before, inits = before + libraries, []
    finis = [
        function
        for module in bundle.ns.relocation_order
        if not module.hosted and module is not main
        for function in terminators(module)
    ]
    finis += terminators(main)
    if not bundle.hosted and (before or inits or finis):
        raise Unsupported(f"{main.path}: initialisers, and no C library that would run them")
    for functions, tag, size in (
        (before, t.DT_PREINIT_ARRAY, t.DT_PREINIT_ARRAYSZ),
        (inits, t.DT_INIT_ARRAY, t.DT_INIT_ARRAYSZ),
        (finis, t.DT_FINI_ARRAY, t.DT_FINI_ARRAYSZ),
    ):
        if functions:
            data = encoder.words(functions)
            entries += [(tag, part.add(data)), (size, len(data))]


def _put_tls(bundle: Bundle, part: Part) -> None:
    """PT_TLS: the initial image of the common block."""
    from rtld.process.bundle.link import tls_start

    layout = bundle.ns.tls
    if not layout.modules:
        return
    start = tls_start(bundle)
    size = stored = 0
    for module in layout.modules:
        segment = module.file.segment(t.PT_TLS)
        size = max(size, module.tls_block + segment.memsz)
        stored = max(stored, module.tls_block + segment.filesz)
    if layout.variant == 2:
        size = -start
    image = bytearray(stored)
    for module in layout.modules:
        segment = module.file.segment(t.PT_TLS)
        if segment.filesz:
            data = read_memory(module, segment.vaddr, segment.filesz).tobytes()
            image[module.tls_block : module.tls_block + segment.filesz] = data
    align = max(layout.align, bundle.word)
    part.at += (start - part.at) % align
    at = part.at
    bundle.put(at, bytes(image))
    part.at += stored
    bundle.segments[t.PT_TLS] = (at, stored, size, align)


def _put_got(
    bundle: Bundle, part: Part, symbols: Symbols, first: int, entries: list[tuple[int, int]]
) -> None:
    """MIPS: two words of ld.so's, then one for each symbol that is asked for."""
    encoder, got = symbols.encoder, bundle.arch.implicit_got
    count = len(symbols.rows) - first
    at = part.add(encoder.words([0, got.gnu_mask, *[0] * count]))
    entries += [
        (t.DT_PLTGOT, at), (t.DT_MIPS_RLD_VERSION, 1), (t.DT_MIPS_FLAGS, 2),
        (t.DT_MIPS_BASE_ADDRESS, bundle.base), (t.DT_MIPS_LOCAL_GOTNO, 2),
        (t.DT_MIPS_SYMTABNO, len(symbols.rows)), (t.DT_MIPS_GOTSYM, first),
        (t.DT_MIPS_UNREFEXTNO, first),
    ]  # fmt: skip


def _keep_abi(bundle: Bundle) -> None:
    """MIPS: which floating-point ABI; ld.so compares it with libc's."""
    segment = bundle.main.file.segment(PT_MIPS_ABIFLAGS)
    if bundle.arch.implicit_got is not None and segment is not None:
        at = bundle.main.base + segment.vaddr
        bundle.segments[PT_MIPS_ABIFLAGS] = (at, segment.filesz, segment.memsz, 8)


def _run_path(bundle: Bundle) -> str:
    """Where dlopen looks: the directories of all modules' DT_RUNPATH and DT_RPATH."""
    found: dict[str, None] = {}
    for module in bundle.fused:
        origin = os.path.dirname(os.path.abspath(module.path))
        for text in (module.file.runpath, module.file.rpath):
            for directory in (text or "").split(":"):
                if directory:
                    directory = directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
                    found[directory] = None
    return ":".join(found)

"""The linker's own passes over a program that will run elsewhere, and what they leave to the guest's ld.so."""

from __future__ import annotations

import os

import numpy as np

from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.flat import flat
from rtld.elf.link import bind, find_closure, open_namespace
from rtld.elf.load import store_word
from rtld.elf.resolve import UNDEFINED
from rtld.elf.sysroot import Sysroot
from rtld.elf.tls import round_up
from rtld.elf.words import loading_lines
from rtld.errors import NoSpace, Unsupported
from rtld.process.bundle.plan import HEAD, Chosen, Copied, Open
from rtld.process.emulated.system import StartFailed
from rtld.process.hosting import is_hosted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile
    from rtld.elf.flat import I64, Bool
    from rtld.elf.search import SearchOptions
    from rtld.events import Reporter
    from rtld.process.bundle.plan import Bundle

START = 0x1000_0000  # of a program that may be anywhere
LIMIT = 1 << 31  # a table for unwinders reaches so far
TLS_ALIGN = 64


class Overlay(Sysroot):
    """What qemu-user's -L makes: a name of the sysroot where it has it, else this computer's."""

    __slots__ = ()

    def host(self, path: str) -> str:
        try:
            place = super().host(path)
            if os.path.lexists(place):
                return place
        except OSError:
            pass
        return path


def find_program(file: ElfFile, path: str, search: SearchOptions, reporter: Reporter) -> Namespace:
    """The closure; what belongs to libc stays ld.so's."""
    ns = open_namespace(file, path, search, reporter)
    if search.sysroot is not None:
        ns.search.sysroot = Overlay(search.sysroot)
        ns.search.sysroot.outside = os.path.dirname(os.path.abspath(path))
        ns.search.main_path = path
    if ns.model != "glibc":
        raise Unsupported(
            f"{path}: a program of {ns.model}'s cannot be linked for qemu-user",
            "run it with --interp",
        )
    find_closure(ns, file, path)
    for module in ns.modules:
        module.hosted = is_hosted(module, ns)
    if ns.interp is not None:
        ns.interp.hosted = True
    lines, failure = loading_lines(ns, path)
    for line in lines:
        reporter.message(line)
    if failure is not None:
        raise StartFailed(failure)
    return ns


def bind_program(bundle: Bundle) -> None:
    """Every reference's definition; thread-local storage as one block."""
    ns = bundle.ns
    ns.lazy = False
    bind(ns)
    program = ns.main.path
    versions = [p.message for p in ns.problems if p.kind == "version" and p.fatal]
    if versions:
        raise StartFailed("\n".join(f"{program}: {message}" for message in versions), 1)
    from rtld.elf.notices import first_undefined

    undefined = first_undefined(ns, program, now=bool(ns.search.env.get("LD_BIND_NOW")))
    if undefined is not None:
        raise StartFailed(f"{program}: symbol lookup error: {undefined[1]}")
    start = tls_start(bundle)
    for module in ns.tls.modules:
        module.tls_id = 1
        module.tls_block = module.tls_offset - start


def tls_start(bundle: Bundle) -> int:
    """Where the common block begins, from the thread pointer."""
    layout = bundle.ns.tls
    if not layout.modules:
        return 0
    if layout.variant == 2:
        layout.align = max(layout.align, TLS_ALIGN)
        return -round_up(layout.size, layout.align)
    return int(min(module.tls_offset for module in layout.modules))


def place_modules(bundle: Bundle) -> None:
    """Addresses: the program where it must be, the libraries behind it."""
    main, page = bundle.main, bundle.page
    low, _ = main.file.span
    if main.file.type == t.ET_EXEC:
        bundle.base = (low & -page) - HEAD
        main.base = 0
    else:
        bundle.base = START
        main.base = _aligned(START + HEAD, main, page)
    at = page_up(main.base + main.file.span[1], page)
    bundle.headers = bundle.base
    if bundle.base < page:
        # No room below: the ELF header takes the place of the program's own, what it leads to stands behind the program.
        bundle.base, bundle.headers = low & -page, at
        at += HEAD
        if main.file.loads[0].offset:
            raise NoSpace(f"{main.path}: linked at {low:#x}, which leaves no room for headers")
    for module in bundle.fused:
        if module is main:
            continue
        module.base = _aligned(at, module, page)
        at = page_up(module.base + module.file.span[1], page)
        if at - bundle.base > LIMIT:
            raise NoSpace(f"{main.path}: the modules together need more than 2 GiB")
    bundle.modules_end = at


def _aligned(address: int, module: Module, page: int) -> int:
    """The load bias of a module that begins at *address* or soon after."""
    low, align = module.file.span[0] & -page, max(module.file.max_align, page)
    return int((address + align - 1 & -align) - low + low % align)


# -- relocation -----------------------------------------------------------------------------------------


def relocate_modules(bundle: Bundle) -> None:
    """Fill the images, and list what cannot be known here."""
    from rtld.elf.images import build_images, relocate_relative
    from rtld.elf.relocate import relocate_copies, relocate_symbolic

    ns = bundle.ns
    _list_open(bundle)
    build_images(ns, bundle.fused)
    relocate_relative(ns, bundle.fused)
    relocate_symbolic(ns, bundle.fused, ns.relocations, ns.bindings)
    _finish_tls(bundle)
    relocate_copies(ns)
    if not bundle.arch.uses_rela:
        _restore_addends(bundle)
    for row in ns.ifuncs:
        if row.addend:
            raise Unsupported(
                f"{row.module.path}: an IFUNC's address with an addend, at {row.place:#x}"
            )
        bundle.chosen.append(Chosen(row.place, row.resolver))
        store_word(row.module, row.place - row.module.base, row.resolver)
    for row in ns.descriptors:
        if row.offset is None:
            raise Unsupported(
                f"{row.module.path}: a TLS descriptor of a weak symbol nobody defines"
            )
        # Without a symbol it means the program's own block, in which all are.
        addend = row.offset + row.addend - tls_start(bundle)
        bundle.open.append(Open(row.place, bundle.arch.reloc_types.tlsdesc, addend, -1))
        if not bundle.arch.uses_rela:
            table = bundle.arch.relocs[bundle.arch.reloc_types.tlsdesc]
            store_word(row.module, row.place - row.module.base + table.addend_at, addend)


def _rows(bundle: Bundle, which: Bool) -> list[tuple[int, Module, int, int]]:
    """(row, module, p_vaddr, addend) of relocation records; a word of MIPS's GOT has no record, only a place."""
    ns = bundle.ns
    r, word = ns.relocations, bundle.word
    rows = np.flatnonzero(which)
    unsigned, signed = flat(f"{bundle.order}u{word}"), flat(f"{bundle.order}i{word}")
    found = []
    for row in rows.tolist():
        at = int(r.at[row])
        module = ns.columns.modules[int(r.module[row])]
        if int(r.type[row]) < 0:
            found.append((row, module, at, 0))
        else:
            addend = int(signed[at + 2 * word]) if r.is_rela[row] else 0
            found.append((row, module, int(unsigned[at]), addend))
    return found


def _list_open(bundle: Bundle) -> None:
    """References to what ld.so loads: their words are its to fill; for our own passes they are 0."""
    ns, types = bundle.ns, bundle.arch.reloc_types
    r, b = ns.relocations, ns.bindings
    if not len(b):
        return
    hosted = np.array([m.hosted for m in ns.columns.modules], np.bool_)
    leaves: Bool = (b.definer >= 0) & hosted[np.maximum(b.definer, 0)]
    ns.substitutes = (np.flatnonzero(leaves), np.zeros(int(leaves.sum()), np.uint64))
    leaves = leaves | (b.kind == UNDEFINED)
    which = (r.reference >= 0) & ~hosted[r.module]
    which &= leaves[np.maximum(r.reference, 0)]
    for row, module, offset, addend in _rows(bundle, which):
        reference, kind = int(r.reference[row]), int(r.type[row])
        place = module.base + offset
        if kind == types.copy:
            bundle.copied.append(Copied(place, int(r.symbol[row]), reference))
            continue
        if kind < 0 or (kind == types.jump_slot and bundle.arch.implicit_got is not None):
            kind = types.symbolic
        bundle.open.append(Open(place, kind, addend, reference))


def _finish_tls(bundle: Bundle) -> None:
    """Offsets count from the common block's start."""
    from rtld.elf.ppc64 import uses_tls_stub

    ns, types = bundle.ns, bundle.arch.reloc_types
    r, b = ns.relocations, ns.bindings
    blocks: I64 = np.array([m.tls_block for m in ns.columns.modules], np.int64)
    mine = np.array([not m.hosted and not uses_tls_stub(m) for m in ns.columns.modules], np.bool_)
    if not blocks.any() or not len(r.at):
        return
    numbered = set()
    for row, module, offset, _addend in _rows(bundle, (r.type == types.dtpoff) & mine[r.module]):
        numbered.add((module, offset))
        reference = int(r.reference[row])
        definer = int(b.definer[reference]) if reference >= 0 else int(r.module[row])
        if definer >= 0:
            _add(module, offset, int(blocks[definer]), bundle)
    alone = (r.type == types.dtpmod) & (r.reference < 0) & mine[r.module]
    for row, module, offset, _addend in _rows(bundle, alone):
        # The offset beside a module id of one's own is a constant of the file, unless it is relocated itself.
        if (module, offset + bundle.word) not in numbered:
            _add(module, offset + bundle.word, int(blocks[int(r.module[row])]), bundle)


def _add(module: Module, offset: int, value: int, bundle: Bundle) -> None:
    order: Any = "little" if bundle.order == "<" else "big"
    old = int.from_bytes(memoryview(module.image.view(offset, bundle.word)), order)
    store_word(module, offset, old + value)


def _restore_addends(bundle: Bundle) -> None:
    """REL: what stands at an open place is the addend, as it was in the file."""
    for row in bundle.open:
        module = owner(bundle, row.place)
        offset = row.place - module.base
        for load in module.file.loads:
            if load.vaddr <= offset and offset + bundle.word <= load.vaddr + load.memsz:
                begin = load.offset + offset - load.vaddr
                stored = bytes(
                    module.file.data[begin : min(begin + bundle.word, load.offset + load.filesz)]
                )
                stored = stored.ljust(bundle.word, b"\0")
                if bundle.arch.implicit_got is not None and _in_got(module, offset):
                    stored = bytes(bundle.word)  # a GOT word's file contents are no addend
                memoryview(module.image.view(offset, bundle.word))[:] = stored


def _in_got(module: Module, offset: int) -> bool:
    dynamic = module.file.dynamic
    got, word = dynamic.get(t.DT_PLTGOT), module.file.bits // 8
    if got is None:
        return False
    words = dynamic.get(t.DT_MIPS_LOCAL_GOTNO, 0) + dynamic.get(t.DT_MIPS_SYMTABNO, 0)
    return bool(got <= offset < got + word * (words - dynamic.get(t.DT_MIPS_GOTSYM, 0)))


def owner(bundle: Bundle, address: int) -> Module:
    """Whose memory that is."""
    for module in bundle.fused:
        low, high = module.file.span
        if module.base + low <= address < module.base + high:
            return module
    raise NoSpace(f"{address:#x} is in no module")

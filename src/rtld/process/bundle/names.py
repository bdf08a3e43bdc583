"""Small libraries that stand for what is in the bundle: their names, and absolute symbols.

When the program opens one of its libraries by name, or a plugin needs one, ld.so would load it a second time. So each
has a library of some hundred bytes with its DT_SONAME, which ld.so loads at the start; its symbols are absolute addresses in
the bundle (SHN_ABS, which glibc from 2.28 on does not shift).
"""

from __future__ import annotations

import os

from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.process.bundle.encode import Encoder, Strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module
    from rtld.process.bundle.plan import Bundle

ALIGN = 0x10000


def make_names(bundle: Bundle) -> list[str]:
    """One for each library with a name; the paths, for DT_NEEDED."""
    paths = []
    for module in bundle.fused:
        if module is bundle.main or not module.soname or "/" in module.soname:
            continue
        name = module.soname
        bundle.names[name] = _library(bundle, module, name)
        paths.append(os.path.join(bundle.directory, name))
    return paths


def _library(bundle: Bundle, module: Module, name: str) -> bytes:
    """An ELF file: header, program headers, tables; one writable segment."""
    from rtld.process.bundle.symbols import read_symbols

    encoder, strings = Encoder(bundle.main.file, bundle.arch), Strings()
    soname = strings.add(os.fsencode(name))
    names, rows = [b""], [encoder.symbol(0, 0, 0, 0, 0, 0)]
    for symbol in read_symbols(module.file):
        if symbol.section == t.SHN_UNDEF or symbol.kind == t.STT_TLS or not symbol.is_offered:
            continue
        value = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0)
        where = strings.add(symbol.name)
        names.append(symbol.name)
        rows.append(encoder.symbol(where, symbol.info, symbol.other, t.SHN_ABS, value, symbol.size))
    out = bytearray(encoder.ehsize + 3 * encoder.phentsize)

    def add(data: bytes) -> int:
        out.extend(bytes(-len(out) % 16))
        at = len(out)
        out.extend(data)
        return at

    entries = [
        (t.DT_SONAME, soname), (t.DT_HASH, add(encoder.hash(names))), (t.DT_SYMTAB, add(b"".join(rows))),
        (t.DT_SYMENT, encoder.symsize), (t.DT_STRTAB, add(bytes(strings.data))), (t.DT_STRSZ, len(strings.data)),
    ]  # fmt: skip
    if bundle.arch.implicit_got is not None:
        got = add(encoder.words([0, bundle.arch.implicit_got.gnu_mask]))
        entries += [
            (t.DT_PLTGOT, got), (t.DT_MIPS_RLD_VERSION, 1), (t.DT_MIPS_FLAGS, 2), (t.DT_MIPS_BASE_ADDRESS, 0),
            (t.DT_MIPS_LOCAL_GOTNO, 2), (t.DT_MIPS_SYMTABNO, len(rows)), (t.DT_MIPS_GOTSYM, len(rows)),
            (t.DT_MIPS_UNREFEXTNO, len(rows)),
        ]  # fmt: skip
    dynamic = encoder.dynamic(entries)
    at = add(dynamic)
    size = len(out)
    rights = t.PF_R | t.PF_W
    out[: encoder.ehsize] = encoder.header(t.ET_DYN, 0, 3, encoder.ehsize)
    out[encoder.ehsize : encoder.ehsize + 3 * encoder.phentsize] = b"".join(
        (
            encoder.segment(t.PT_LOAD, rights, 0, 0, size, size, ALIGN),
            encoder.segment(t.PT_DYNAMIC, rights, at, at, len(dynamic), len(dynamic), encoder.word),
            encoder.segment(t.PT_GNU_STACK, rights, 0, 0, 0, 0, 16),
        )
    )
    return bytes(out).ljust(page_up(size), b"\0")

"""Symbols, versions and relocations as readelf sees them, from the dynamic section alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import oracle
import toolchain
from elf.specimens import foreign, native
from rtld.arch import arch_for
from rtld.elf import types as t
from rtld.elf.file import ElfFile
from rtld.elf.flat import flat
from rtld.elf.tables import Tables, symbols, tables, versym

FILES = [*native(), *foreign()]
BINDS = {
    "LOCAL": t.STB_LOCAL,
    "GLOBAL": t.STB_GLOBAL,
    "WEAK": t.STB_WEAK,
    "UNIQUE": t.STB_GNU_UNIQUE,
}
TYPES = {
    "NOTYPE": t.STT_NOTYPE,
    "OBJECT": t.STT_OBJECT,
    "FUNC": t.STT_FUNC,
    "SECTION": t.STT_SECTION,
    "COMMON": t.STT_COMMON,
    "TLS": t.STT_TLS,
    "IFUNC": t.STT_GNU_IFUNC,
}
VISIBILITIES = {
    "DEFAULT": t.STV_DEFAULT,
    "INTERNAL": t.STV_INTERNAL,
    "HIDDEN": t.STV_HIDDEN,
    "PROTECTED": t.STV_PROTECTED,
}
#: Where binutils does not spell as <elf.h> does.
SPELLINGS = {
    "R_386_JUMP_SLOT": "R_386_JMP_SLOT",
    "R_AARCH64_TLS_TPREL64": "R_AARCH64_TLS_TPREL",
    "R_AARCH64_TLS_DTPREL64": "R_AARCH64_TLS_DTPREL",
    "R_AARCH64_TLS_DTPMOD64": "R_AARCH64_TLS_DTPMOD",
}
SECTIONS = {"UND": t.SHN_UNDEF, "ABS": t.SHN_ABS, "COM": t.SHN_COMMON}


def name_of(file: ElfFile, symbol: np.void) -> str:
    return file.string(int(symbol["st_name"]))


@pytest.mark.parametrize("path", FILES)
def test_symbols(path: str) -> None:
    file = ElfFile(path)
    theirs = oracle.readelf_symbols(path)
    ours = symbols(file)
    # Without section headers nobody knows of undefined symbols behind the last hashed one.
    assert len(theirs) >= len(ours)
    assert all(row.section == "UND" for row in theirs[len(ours) :])
    for symbol, row in zip(ours, theirs, strict=False):
        assert (int(symbol["st_value"]), int(symbol["st_size"])) == (row.value, row.size)
        assert int(symbol["st_info"]) == (BINDS[row.bind] << 4 | TYPES[row.type])
        assert int(symbol["st_other"]) & 3 == VISIBILITIES[row.visibility]
        section = SECTIONS.get(row.section)
        assert int(symbol["st_shndx"]) == (int(row.section) if section is None else section)
        if row.type != "SECTION":  # readelf gives a section's own name
            assert name_of(file, symbol) == row.name


@pytest.mark.parametrize("path", FILES)
def test_versions(path: str) -> None:
    file = ElfFile(path)
    table = tables(file)
    defined, needed = oracle.readelf_versions(path)
    names = {d.index: d.name.decode() for d in table.verdefs}
    assert names == defined
    needs = {n.index: (n.file.decode(), n.name.decode()) for n in table.needs}
    assert needs == needed
    # The file's own name as a version (VER_FLG_BASE) is no version.
    versions = {d.index: d.name.decode() for d in table.verdefs if not d.base}
    versions |= {index: name for index, (_, name) in needs.items()}
    indices = versym(file)
    if indices is None:
        return
    for number, row in zip(indices.tolist(), oracle.readelf_symbols(path), strict=False):
        version = versions.get(number & 0x7FFF)
        if row.version is None:
            # readelf does not say that the symbol which stands for a version has it.
            assert version in (None, row.name) or row.type == "SECTION"
            continue
        assert row.version in (version, names.get(number & 0x7FFF))
        if row.section != "UND" and number & 0x7FFF in names:  # not a COPY
            assert row.default == (not number & 0x8000)


def relocations(file: ElfFile, table: Tables) -> list[tuple[int, int, int | None]]:
    """(r_offset, r_info, r_addend) of every record, in the order of the tables."""
    word = file.bits // 8
    rows: list[tuple[int, int, int | None]] = []
    for run in table.relocs:
        at = run.position + run.entsize * np.arange(run.count)
        offset, info = (flat(f"{file.order}u{word}")[at + word * n] for n in (0, 1))
        addend = flat(f"{file.order}i{word}")[at + 2 * word] if run.is_rela else None
        addends = [None] * run.count if addend is None else addend.tolist()
        rows += list(zip(offset.tolist(), info.tolist(), addends, strict=True))
    return rows


@pytest.mark.parametrize("path", FILES)
def test_relocations(path: str) -> None:
    file = ElfFile(path)
    if file.machine == t.EM_MIPS:
        pytest.skip("readelf splits r_info of 64-bit MIPS into three")
    arch = arch_for(file.machine, file.bits, file.order, file.flags)
    assert arch is not None
    names = [symbol.name for symbol in oracle.readelf_symbols(path)]
    table = tables(file)
    ours = relocations(file, table)
    theirs = oracle.readelf_relocations(path)
    # On RISC-V the PLT's records are part of DT_RELA too, and readelf shows them twice.
    assert len({row[:2] for row in ours}) == len(ours)
    assert {row[:2] for row in ours} == {(r.offset, r.info) for r in theirs}
    by_place = {(r.offset, r.info): r for r in theirs}
    for offset, info, addend in ours:
        row = by_place[offset, info]
        symbol, number = arch.rinfo.split(np.array([info], np.uint64))
        # readelf cuts long names.
        assert arch.relocs[int(number[0])].name.startswith(SPELLINGS.get(row.type, row.type))
        if symbol[0] and row.symbol:
            assert names[int(symbol[0])] == row.symbol
        if row.addend is not None and addend is not None and not symbol[0]:
            assert (row.addend - addend) % (1 << file.bits) == 0


def test_relative_prefix_is_what_it_says() -> None:
    for path in native():
        file = ElfFile(path)
        arch = arch_for(file.machine, file.bits, file.order, file.flags)
        assert arch is not None
        for run in tables(file).relocs:
            at = run.position + run.entsize * np.arange(run.relative) + file.bits // 8
            _, number = arch.rinfo.split(flat(f"{file.order}u{file.bits // 8}")[at])
            assert (number == arch.reloc_types.relative).all()


SOURCE = """
int exported = 3;
extern int wanted;
static int hidden;
int *pointers[] = { &exported, &hidden, &wanted, &exported + 1 };
__thread int local;
int *get(void) { return &local; }
"""


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
@pytest.mark.parametrize("name", sorted(toolchain.TARGETS))
def test_stripped_of_section_headers(cc: Callable[..., Path], name: str, style: str) -> None:
    """Everything is found through the dynamic section: the answer does not change when sections go."""
    target = toolchain.TARGETS[name]
    flags = ("-shared", "-fPIC", f"-Wl,--hash-style={style}")
    path = cc(SOURCE, "libtables.so", *flags, arch=target.arch, libc=target.libc)
    data = bytearray(path.read_bytes())
    whole = ElfFile(bytes(data))
    offset, size, counts = (40, 8, 58) if data[4] == 2 else (32, 4, 46)
    data[offset : offset + size] = bytes(size)
    data[counts : counts + 6] = bytes(6)
    bare = ElfFile(bytes(data))
    assert (symbols(whole) == symbols(bare)).all()
    # MIPS has a table of its own instead of DT_GNU_HASH (DT_MIPS_XHASH); there all names are hashed.
    assert tables(bare).hash_style == (
        "sysv" if style == "sysv" or target.arch in ("mips64el", "mipsel") else "gnu"
    )
    assert relocations(whole, tables(whole)) == relocations(bare, tables(bare))
    rows = oracle.readelf_symbols(str(path))
    theirs = [row.name if row.type != "SECTION" else "" for row in rows]
    ours = [name_of(bare, symbol) for symbol in symbols(bare)]
    assert ours == theirs[: len(ours)]
    assert {"exported", "pointers", "get", "local"} <= set(ours)

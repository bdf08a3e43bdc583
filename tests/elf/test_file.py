"""Headers, dynamic section and notes as readelf sees them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import oracle
from elf.specimens import foreign, native
from rtld.elf import types as t
from rtld.elf.file import ElfFile
from rtld.errors import FormatError

FILES = [*native(), *foreign()]

# fmt: off
TYPES = {
    "NULL": t.PT_NULL, "LOAD": t.PT_LOAD, "DYNAMIC": t.PT_DYNAMIC, "INTERP": t.PT_INTERP, "NOTE": t.PT_NOTE,
    "PHDR": t.PT_PHDR, "TLS": t.PT_TLS, "GNU_EH_FRAME": 0x6474E550, "GNU_STACK": t.PT_GNU_STACK,
    "GNU_RELRO": t.PT_GNU_RELRO, "GNU_PROPERTY": 0x6474E553,
}
# fmt: on
MACHINES = {
    "X86-64": t.EM_X86_64,
    "80386": t.EM_386,
    "AArch64": t.EM_AARCH64,
    "ARM": t.EM_ARM,
    "RISC-V": t.EM_RISCV,
    "S/390": t.EM_S390,
    "PowerPC64": t.EM_PPC64,
    "MIPS": t.EM_MIPS,
}


@pytest.mark.parametrize("path", FILES)
def test_header(path: str) -> None:
    file = ElfFile(path)
    text = oracle.readelf(path, "-h")
    said = dict(re.findall(r"^ +([^:\n]+): +(.+)$", text, re.MULTILINE))
    assert said["Class"] == f"ELF{file.bits}"
    assert ("little" in said["Data"]) == (file.order == "<")
    machine = next(number for word, number in MACHINES.items() if word in said["Machine"])
    assert file.machine == machine
    assert file.entry == int(said["Entry point address"], 16)
    assert file.flags == int(said["Flags"].partition(",")[0], 16)
    assert file.phnum == int(said["Number of program headers"])
    assert file.type == {"DYN": t.ET_DYN, "EXEC": t.ET_EXEC}[said["Type"].partition(" ")[0]]


@pytest.mark.parametrize("path", FILES)
def test_program_headers(path: str) -> None:
    file = ElfFile(path)
    rows = oracle.readelf_headers(path)
    assert len(rows) == len(file.segments)
    for row, segment in zip(rows, file.segments, strict=True):
        assert segment.type == TYPES.get(row.type, segment.type)
        flags = "".join(
            letter
            for letter, bit in (("R", t.PF_R), ("W", t.PF_W), ("E", t.PF_X))
            if segment.flags & bit
        )
        ours = segment.offset, segment.vaddr, segment.paddr, segment.filesz, segment.memsz
        assert (*ours, flags, segment.align) == row[1:]


@pytest.mark.parametrize("path", FILES)
def test_dynamic_section_and_build_id(path: str) -> None:
    file = ElfFile(path)
    rows = oracle.readelf_dynamic(path)
    assert file.dynamic is not None
    # readelf shows the DT_NULL that ends the section.
    assert [tag for tag, _ in file.dynamic.entries] == [tag for tag, *_ in rows if tag != t.DT_NULL]
    assert list(file.needed) == oracle.readelf_needed(path)
    quoted = {name: value.partition("[")[2][:-1] for _, name, value in rows if "[" in value}
    assert file.soname == quoted.get("SONAME")
    assert file.rpath == quoted.get("RPATH")
    assert file.runpath == quoted.get("RUNPATH")
    build_id = file.build_id
    assert (build_id.hex() if build_id else None) == oracle.readelf_build_id(path)
    assert file.interp == oracle.interp(path)


def test_every_kind_of_source(tmp_path: Path) -> None:
    path = native()[0]
    with open(path, "rb") as stream:
        data = stream.read()
    whole = ElfFile(path)
    fd = os.open(path, os.O_RDONLY)
    with open(path, "rb") as stream:
        sources: list[Any] = [Path(path), fd, data, memoryview(data), stream]
        for source in sources:
            file = ElfFile(source)
            assert file.segments == whole.segments
            assert file.needed == whole.needed
            assert bytes(file.data) == data
    os.close(fd)
    assert whole.identity == (os.stat(path).st_dev, os.stat(path).st_ino)
    assert ElfFile(data).identity is None


@pytest.mark.parametrize(
    ("offset", "value", "structure", "field"),
    [
        (0, 0x7E, "ELF header", "magic"),
        (4, 3, "ELF header", "EI_CLASS"),
        (5, 0, "ELF header", "EI_DATA"),
        (6, 2, "ELF header", "EI_VERSION"),
        (54, 57, "ELF header", "e_phentsize"),
        (57, 0xFF, "ELF header", "e_phnum"),
        (39, 0x7F, "ELF header", "e_phoff"),
    ],
)
def test_what_is_wrong_is_named(offset: int, value: int, structure: str, field: str) -> None:
    with open("/bin/true", "rb") as stream:
        data = bytearray(stream.read())
    data[offset] = value
    with pytest.raises(FormatError) as caught:
        ElfFile(bytes(data), name="mutant")
    assert caught.value.path == "mutant"
    assert (caught.value.structure, caught.value.field) == (structure, field)
    assert "mutant" in str(caught.value)


def test_truncated() -> None:
    with open("/bin/true", "rb") as stream:
        data = stream.read()
    for size in (0, 4, 15, 16, 40, 63, 64, 100, len(data) // 2):
        with pytest.raises(FormatError):
            _ = ElfFile(data[:size]).dynamic

"""Relocation numbers and names against tables that other people keep."""

from __future__ import annotations

import os
import re

import pytest

from rtld.arch import ARCHES, by_name
from rtld.core.reloc import Action
from rtld.core.terms import TP, A, B, M, S

ELF_H = "/usr/include/elf.h"
PREFIX = {
    "x86_64": "R_X86_64_",
    "i386": "R_386_",
    "aarch64": "R_AARCH64_",
    "arm": "R_ARM_",
    "riscv64": "R_RISCV_",
    "s390x": "R_390_",
    "ppc64le": "R_PPC64_",
    "mips64el": "R_MIPS_",
    "mipsel": "R_MIPS_",
    "loongarch64": "R_LARCH_",
}

# Newer than the <elf.h> of glibc 2.36; from the psABIs' own tables.
NEWER = {"R_RISCV_TLSDESC": 12, "R_LARCH_TLS_DESC64": 14}

# The whole of what the LoongArch psABI calls dynamic, for systems whose <elf.h> lacks it.
LARCH = {
    "R_LARCH_NONE": 0,
    "R_LARCH_32": 1,
    "R_LARCH_64": 2,
    "R_LARCH_RELATIVE": 3,
    "R_LARCH_COPY": 4,
    "R_LARCH_JUMP_SLOT": 5,
    "R_LARCH_TLS_DTPMOD64": 7,
    "R_LARCH_TLS_DTPREL64": 9,
    "R_LARCH_TLS_TPREL64": 11,
    "R_LARCH_IRELATIVE": 12,
}

# What sysdeps/<cpu>/dl-machine.h of glibc 2.36 applies: the least a table must know.
GLIBC = {
    "x86_64": "NONE 64 PC32 COPY GLOB_DAT JUMP_SLOT RELATIVE 32 DTPMOD64 DTPOFF64 TPOFF64 SIZE32 SIZE64 "
    "TLSDESC IRELATIVE RELATIVE64",
    "i386": "NONE 32 PC32 COPY GLOB_DAT JMP_SLOT RELATIVE TLS_TPOFF TLS_DTPMOD32 TLS_DTPOFF32 TLS_TPOFF32 "
    "SIZE32 TLS_DESC IRELATIVE",
    "aarch64": "NONE ABS64 ABS32 COPY GLOB_DAT JUMP_SLOT RELATIVE TLS_DTPMOD TLS_DTPREL TLS_TPREL TLSDESC "
    "IRELATIVE",
    "arm": "NONE PC24 ABS32 TLS_DESC TLS_DTPMOD32 TLS_DTPOFF32 TLS_TPOFF32 COPY GLOB_DAT JUMP_SLOT RELATIVE "
    "IRELATIVE",
    "riscv64": "NONE 64 RELATIVE COPY JUMP_SLOT TLS_DTPMOD64 TLS_DTPREL64 TLS_TPREL64 IRELATIVE",
    "s390x": "NONE 8 16 32 PC32 COPY GLOB_DAT JMP_SLOT RELATIVE PC16 PC16DBL PC32DBL 64 PC64 TLS_DTPMOD "
    "TLS_DTPOFF TLS_TPOFF IRELATIVE",
    "ppc64le": "NONE ADDR32 ADDR24 ADDR16 ADDR16_LO ADDR16_HI ADDR16_HA ADDR14 ADDR14_BRTAKEN ADDR14_BRNTAKEN "
    "COPY GLOB_DAT JMP_SLOT RELATIVE UADDR32 UADDR16 REL32 ADDR30 ADDR64 ADDR16_HIGHER ADDR16_HIGHERA "
    "ADDR16_HIGHEST ADDR16_HIGHESTA UADDR64 REL64 ADDR16_DS ADDR16_LO_DS DTPMOD64 TPREL16 TPREL16_LO "
    "TPREL16_HI TPREL16_HA TPREL64 DTPREL64 TPREL16_DS TPREL16_LO_DS TPREL16_HIGHER TPREL16_HIGHERA "
    "TPREL16_HIGHEST TPREL16_HIGHESTA ADDR16_HIGH ADDR16_HIGHA TPREL16_HIGH TPREL16_HIGHA JMP_IREL IRELATIVE",
    "mips64el": "NONE 64 TLS_DTPMOD64 TLS_DTPREL64 TLS_TPREL64 COPY JUMP_SLOT",
    "mipsel": "NONE REL32 TLS_DTPMOD32 TLS_DTPREL32 TLS_TPREL32 GLOB_DAT COPY JUMP_SLOT",
    "loongarch64": "NONE 64 RELATIVE COPY JUMP_SLOT TLS_DTPMOD64 TLS_DTPREL64 TLS_TPREL64 IRELATIVE",
}


def elf_h() -> dict[str, int]:
    """Every R_* of <elf.h>; one that is defined as another (PPC64 as PPC) gets its number."""
    with open(ELF_H, encoding="utf-8") as stream:
        text = stream.read()
    words: dict[str, str] = dict(re.findall(r"^#define\s+(R_\w+)\s+(\w+)", text, re.MULTILINE))
    numbers: dict[str, int] = {}
    for name, value in words.items():
        word: str = words.get(value, value)
        if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", word):
            numbers[name] = int(word, 0)
    return numbers


@pytest.mark.parametrize("name", ARCHES)
def test_numbers_and_names_are_those_of_elf_h(name: str) -> None:
    if not os.path.exists(ELF_H):
        if os.environ.get("RTLD_REQUIRE") == "all":
            pytest.fail(f"no {ELF_H}: install libc6-dev")
        pytest.skip(f"no {ELF_H}")
    header = LARCH | NEWER | elf_h()
    for number, row in by_name(name).relocs.items():
        assert number == row.number
        # A compound (MIPS64) is several types, the first in the low byte.
        parts = [header[part] for part in row.name.split("/")]
        assert number == sum(part << 8 * i for i, part in enumerate(parts)), row.name
        assert row.name.startswith(PREFIX[name])


@pytest.mark.parametrize("name", ARCHES)
def test_everything_glibc_applies_is_there(name: str) -> None:
    names = {row.name for row in by_name(name).relocs.values()}
    assert {PREFIX[name] + end for end in GLIBC[name].split()} <= names


def test_loongarch_numbers_are_the_psabi_s() -> None:
    rows = by_name("loongarch64").relocs.values()
    assert {row.name: row.number for row in rows if row.name not in NEWER} == LARCH


@pytest.mark.parametrize("name", ARCHES)
def test_rows_ascend_and_are_sound(name: str) -> None:
    arch = by_name(name)
    assert list(arch.relocs) == sorted(arch.relocs)
    for row in arch.relocs.values():
        assert row.check in {"wrap", "signed", "unsigned", "either"}
        assert row.lookup in {"data", "plt", "copy"}
        assert (row.lookup == "copy") == (row.action == Action.COPY)
        assert (row.width == 0) == (row.action in {Action.COPY, Action.NONE})
        if row.action == Action.JUMP_SLOT:
            assert row.lookup == "plt"
        if row.action == Action.TLSDESC:
            assert row.width == 2 * arch.word
            # The addend of a REL descriptor is where its argument goes.
            assert row.addend_at == arch.word * arch.tls.descriptor.index("argument")
        if row.field is not None:
            assert row.field.mask < 1 << 8 * row.width
        if 0 < row.width < 8 and arch.bits == 64 and row.field is None:
            assert row.check != "wrap" or "UADDR" in row.name  # the ABI says UADDR32 wraps


@pytest.mark.parametrize("name", ARCHES)
def test_meanings_follow_from_formulas(name: str) -> None:
    arch = by_name(name)
    types = arch.reloc_types
    rows = arch.relocs
    formulas = {
        "relative": B + A,
        "symbolic": S + A,
        "irelative": B + A,
        "dtpmod": M,
        "copy": S,
    }
    for meaning, formula in formulas.items():
        number = getattr(types, meaning)
        assert number is None or rows[number].value == formula
    assert types.none is not None
    assert types.tpoff is not None
    assert types.dtpoff is not None
    assert types.symbolic is not None
    assert types.glob_dat is not None
    assert rows[types.none].action == Action.NONE
    assert TP in rows[types.tpoff].value
    assert TP not in rows[types.dtpoff].value
    missing = {meaning for meaning in types.__slots__ if getattr(types, meaning) is None}
    expected = {
        "s390x": {"tlsdesc"},
        "ppc64le": {"tlsdesc"},
        "mips64el": {"relative", "irelative", "tlsdesc"},
        "mipsel": {"relative", "irelative", "tlsdesc"},
    }
    assert missing == expected.get(name, set())


def test_the_known_ones() -> None:
    """By hand, from the psABIs: what a derivation must find."""
    known = {
        # name: relative, symbolic, glob_dat, jump_slot, copy, irelative, tpoff
        "x86_64": (8, 1, 6, 7, 5, 37, 18),
        "i386": (8, 1, 6, 7, 5, 42, 14),
        "aarch64": (1027, 257, 1025, 1026, 1024, 1032, 1030),
        "arm": (23, 2, 21, 22, 20, 160, 19),
        "riscv64": (3, 2, 2, 5, 4, 58, 11),
        "s390x": (12, 22, 10, 11, 9, 61, 56),
        "ppc64le": (22, 38, 20, 21, 19, 248, 73),
        "mips64el": (None, 0x1203, 0x1233, 127, 126, None, 48),
        "loongarch64": (3, 2, 2, 5, 4, 12, 11),
    }
    for name, numbers in known.items():
        t = by_name(name).reloc_types
        found = (t.relative, t.symbolic, t.glob_dat, t.jump_slot, t.copy, t.irelative, t.tpoff)
        assert found == numbers, name

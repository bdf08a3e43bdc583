"""s390x (z/Architecture) from the linker's point of view.

The big-endian one. RELA. Addresses relative to code count half-words: the DBL types are shifted right
by one. GLOB_DAT and JMP_SLOT add their addend. DT_HASH words are 8 bytes as the ABI says when GNU
ld wrote them, 4 when lld did: prefer DT_GNU_HASH, else see which reading is consistent.

TLS variant 2, thread pointer in the access registers a0:a1 (high:low). No TLS descriptors.

A PLT entry stores the byte offset of its record at 56(%r15), PLT0 GOT[1] at 48(%r15), and jumps
through GOT[2]. r2-r6, f0, f2, f4, f6 (v24-v31) carry arguments; every frame has 160 bytes for the
callee to save registers in. IFUNC resolvers get (hwcap).

At program entry: r15 8-aligned on argc (not 160 bytes below), r14 = rtld_fini. The instruction set's
level is named by AT_HWCAP; with vectors and everything, glibc 2.36 searched 512 legacy directories
for each directory.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Cpu, Got, Tls, cpu
from rtld.core.reloc import Action, Field, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, M, P, S, T

PSABI = (
    "ELF Application Binary Interface, s390x Supplement, 1.6",
    "https://github.com/IBM/s390x-abi",
)

HALFWORDS16 = Field("16 bits, half-words", 0xFFFF, shift=1, bits=17)
HALFWORDS32 = Field("32 bits, half-words", 0xFFFFFFFF, shift=1, bits=33)

# fmt: off
RELOCS = table(
    #     number name                value       width check     action            lookup
    Reloc(0,     "R_390_NONE",       ZERO,       0,    "wrap",   Action.NONE),
    Reloc(1,     "R_390_8",          S + A,      1,    "either"),
    Reloc(3,     "R_390_16",         S + A,      2,    "either"),
    Reloc(4,     "R_390_32",         S + A,      4,    "either"),
    Reloc(5,     "R_390_PC32",       S + A - P,  4,    "signed"),
    Reloc(9,     "R_390_COPY",       S,          0,    "wrap",   Action.COPY,      "copy"),
    Reloc(10,    "R_390_GLOB_DAT",   S + A),
    Reloc(11,    "R_390_JMP_SLOT",   S + A,      8,    "wrap",   Action.JUMP_SLOT, "plt"),
    Reloc(12,    "R_390_RELATIVE",   B + A),
    Reloc(16,    "R_390_PC16",       S + A - P,  2,    "signed"),
    Reloc(17,    "R_390_PC16DBL",    S + A - P,  2,    "signed", field=HALFWORDS16),
    Reloc(19,    "R_390_PC32DBL",    S + A - P,  4,    "signed", field=HALFWORDS32),
    Reloc(22,    "R_390_64",         S + A),
    Reloc(23,    "R_390_PC64",       S + A - P),
    Reloc(54,    "R_390_TLS_DTPMOD", M,          8,    "wrap",   Action.STORE,     "plt"),
    Reloc(55,    "R_390_TLS_DTPOFF", T + A,      8,    "wrap",   Action.STORE,     "plt"),
    Reloc(56,    "R_390_TLS_TPOFF",  TP + T + A, 8,    "wrap",   Action.STORE,     "plt"),
    Reloc(61,    "R_390_IRELATIVE",  B + A,      8,    "wrap",   Action.IFUNC),
)
# fmt: on

# Bits of AT_HWCAP each level needs (sysdeps/s390/s390-64/dl-hwcaps-subdirs.c), on top of the ones below.
LEVELS = (
    ("z16", 1 << 19),  # VXRS_PDE2
    ("z15", 1 << 15 | 1 << 16),  # VXRS_EXT2, VXRS_PDE
    ("z14", 1 << 12 | 1 << 13 | 1 << 14),  # VXD, VXE, GS
    ("z13", 1 << 11),  # VX
)


def count_levels(cpu: Cpu) -> int:
    """How many of LEVELS, from the last, *cpu* reaches."""
    count = 0
    for _, bits in reversed(LEVELS):
        if cpu.hwcap & bits != bits:
            break
        count += 1
    return count


ARCH = Arch(
    name="s390x",
    uname="s390x",
    psabi=PSABI,
    machine=22,
    bits=64,
    orders=(">",),
    osabi={0: 1, 3: 3},
    hash_entry_size=8,
    relocs=RELOCS,
    tls=Tls(variant=2, tcb_size=0, tp_bias=0, dtp_bias=0, register="a0:a1", descriptor=()),
    got=Got(
        reserved=3,
        resolver=2,
        link_map=1,
        lazy_slots="add base",
        at_binder="48(r15) = GOT[1], 56(r15) = byte offset in .rela.plt (24 a record); just jump",
    ),
    interpreters=("/lib/ld64.so.1",),
    soname="ld64.so.1",
    musl=("s390x",),
    triplets=("s390x-linux-gnu", "s390x-linux-musl"),
    upstream_lib="lib64",
    platform="z900",
    cache_flags=0x0403,
    hwcaps=tuple(name for name, _ in LEVELS),
    count_hwcaps=count_levels,
    legacy_hwcaps={1: "zarch", 4: "ldisp", 5: "eimm", 6: "dfp", 11: "vx", 13: "vxe", 15: "vxe2"},
    baseline=cpu(hwcap=1 << 1, platform="z900"),
    registers={
        "sp": "r15",
        "pc": "psw",
        "fini": "r14",
        "arguments": "r2 r3 r4 r5 r6",
        "result": "r2",
    },
    stack_align=8,
)

"""PowerPC64 little-endian, ELFv2, from the linker's point of view.

RELA; 64 KiB pages are usual. A function has two entries: the global one, which sets r2 (the TOC
pointer) from r12, and the local one after it, for callers that share r2. The distance stands in the
top three bits of st_other and is the term L: a JMP_SLOT bound within its own module gets the local
entry, if the module has but one TOC (DT_PPC64_OPT bit 2) and the function is no IFUNC. ld.so also
patches instructions, hence the long table of half-word fields: LO, HI, HA (adjusted: what HI must be
when a signed LO is added later), DS (low two bits belong to the opcode).

TLS variant 1; the thread pointer (r13) is 0x7000 above the first block, DTPREL values are 0x8000
short. With DT_PPC64_OPT bit 0 a DTPMOD64/DTPREL64 pair whose module has static TLS is written in the
form {0, TPREL}, for __tls_get_addr's optimised stub: DTPMOD64 writes 0 and, into the next word,
TP - 0x7000 + 0x8000; DTPREL64 writes TPREL. No TLS descriptors.

DT_PLTGOT points to .plt, whose first two words are the binder and the link_map; the slots are filled
by the dynamic linker with the addresses of glink's branch table (DT_PPC64_GLINK + 32 + 4 * index).
At the binder's entry r0 = index, r11 = link_map, r12 = the binder; r3-r10, f1-f13, v2-v13 carry
arguments; lr is the caller's. Functions expect their own address in r12.

At program entry: r1 16-aligned on argc (ld.so zeroes the first words), r3 argc, r4 argv, r5 envp,
r6 auxv, r7 = rtld_fini, r12 = entry.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Cpu, Got, Tls, cpu
from rtld.core.reloc import Action, Field, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, L, M, P, S, T

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PSABI = (
    "64-Bit ELF V2 ABI Specification: Power Architecture, 1.5, section 3.5",
    "https://openpowerfoundation.org/specifications/64bitelfabi/",
)


def _hint(taken: int) -> Callable[[Any], Any]:
    """The prediction bits of a conditional branch: "t" of BO set or clear, then "a" made valid."""

    def patch(insn: Any) -> Any:
        insn = insn & 0xFFDFFFFF | taken << 21
        by_cr, by_ctr = insn >> 23 & 1, insn >> 25 & 1
        return insn | (by_cr & (by_ctr ^ 1)) << 22 | (by_ctr & (by_cr ^ 1)) << 24

    return patch


# fmt: off
#                 name                 bits of the word
LO       = Field("half16 #lo",         0xffff)
HI       = Field("half16 #hi",         0xffff, shift=16, bits=32)
HIGH     = Field("half16 #high",       0xffff, shift=16)
HA       = Field("half16 #ha",         0xffff, shift=16, bits=32, round=0x8000)
HIGHA    = Field("half16 #higha",      0xffff, shift=16, round=0x8000)
HIGHER   = Field("half16 #higher",     0xffff, shift=32)
HIGHERA  = Field("half16 #highera",    0xffff, shift=32, round=0x8000)
HIGHEST  = Field("half16 #highest",    0xffff, shift=48)
HIGHESTA = Field("half16 #highesta",   0xffff, shift=48, round=0x8000)
DS       = Field("half16ds",           0xfffc, bits=16, align=4)
LO_DS    = Field("half16ds #lo",       0xfffc, align=4)
LOW24    = Field("low24",              0x03fffffc, bits=26, align=4)
LOW14    = Field("low14",              0x0000fffc, bits=16, align=4)
TAKEN    = Field("low14, taken",       0x0000fffc, bits=16, align=4, hint=_hint(1))
NTAKEN   = Field("low14, not taken",   0x0000fffc, bits=16, align=4, hint=_hint(0))
WORD30   = Field("word30",             0xfffffffc, bits=32, align=4)
# fmt: on

TPREL = TP + T + A - 0x7000

# fmt: off
RELOCS = table(
    #     number name                        value           width check     action            lookup
    Reloc(0,     "R_PPC64_NONE",             ZERO,           0,    "wrap",   Action.NONE),
    Reloc(1,     "R_PPC64_ADDR32",           S + A,          4,    "signed"),
    Reloc(2,     "R_PPC64_ADDR24",           S + A,          4,    "signed", Action.STORE,     "plt",  field=LOW24),
    Reloc(3,     "R_PPC64_ADDR16",           S + A,          2,    "signed"),
    Reloc(4,     "R_PPC64_ADDR16_LO",        S + A,          2,    "wrap",   field=LO),
    Reloc(5,     "R_PPC64_ADDR16_HI",        S + A,          2,    "signed", field=HI),
    Reloc(6,     "R_PPC64_ADDR16_HA",        S + A,          2,    "signed", field=HA),
    Reloc(7,     "R_PPC64_ADDR14",           S + A,          4,    "signed", field=LOW14),
    Reloc(8,     "R_PPC64_ADDR14_BRTAKEN",   S + A,          4,    "signed", field=TAKEN),
    Reloc(9,     "R_PPC64_ADDR14_BRNTAKEN",  S + A,          4,    "signed", field=NTAKEN),
    Reloc(19,    "R_PPC64_COPY",             S,              0,    "wrap",   Action.COPY,      "copy"),
    Reloc(20,    "R_PPC64_GLOB_DAT",         S + A),
    Reloc(21,    "R_PPC64_JMP_SLOT",         S + A + L,      8,    "wrap",   Action.JUMP_SLOT, "plt"),
    Reloc(22,    "R_PPC64_RELATIVE",         B + A),
    Reloc(24,    "R_PPC64_UADDR32",          S + A,          4),
    Reloc(25,    "R_PPC64_UADDR16",          S + A,          2,    "signed"),
    Reloc(26,    "R_PPC64_REL32",            S + A - P,      4,    "signed"),
    Reloc(37,    "R_PPC64_ADDR30",           S + A - P,      4,    "signed", field=WORD30),
    Reloc(38,    "R_PPC64_ADDR64",           S + A),
    Reloc(39,    "R_PPC64_ADDR16_HIGHER",    S + A,          2,    "wrap",   field=HIGHER),
    Reloc(40,    "R_PPC64_ADDR16_HIGHERA",   S + A,          2,    "wrap",   field=HIGHERA),
    Reloc(41,    "R_PPC64_ADDR16_HIGHEST",   S + A,          2,    "wrap",   field=HIGHEST),
    Reloc(42,    "R_PPC64_ADDR16_HIGHESTA",  S + A,          2,    "wrap",   field=HIGHESTA),
    Reloc(43,    "R_PPC64_UADDR64",          S + A),
    Reloc(44,    "R_PPC64_REL64",            S + A - P),
    Reloc(56,    "R_PPC64_ADDR16_DS",        S + A,          2,    "signed", field=DS),
    Reloc(57,    "R_PPC64_ADDR16_LO_DS",     S + A,          2,    "wrap",   field=LO_DS),
    Reloc(68,    "R_PPC64_DTPMOD64",         M,              8,    "wrap",   Action.STORE,     "plt"),
    Reloc(69,    "R_PPC64_TPREL16",          TPREL,          2,    "signed", Action.STORE,     "plt"),
    Reloc(70,    "R_PPC64_TPREL16_LO",       TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=LO),
    Reloc(71,    "R_PPC64_TPREL16_HI",       TPREL,          2,    "signed", Action.STORE,     "plt",  field=HI),
    Reloc(72,    "R_PPC64_TPREL16_HA",       TPREL,          2,    "signed", Action.STORE,     "plt",  field=HA),
    Reloc(73,    "R_PPC64_TPREL64",          TPREL,          8,    "wrap",   Action.STORE,     "plt"),
    Reloc(78,    "R_PPC64_DTPREL64",         T + A - 0x8000, 8,    "wrap",   Action.STORE,     "plt"),
    Reloc(95,    "R_PPC64_TPREL16_DS",       TPREL,          2,    "signed", Action.STORE,     "plt",  field=DS),
    Reloc(96,    "R_PPC64_TPREL16_LO_DS",    TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=LO_DS),
    Reloc(97,    "R_PPC64_TPREL16_HIGHER",   TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=HIGHER),
    Reloc(98,    "R_PPC64_TPREL16_HIGHERA",  TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=HIGHERA),
    Reloc(99,    "R_PPC64_TPREL16_HIGHEST",  TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=HIGHEST),
    Reloc(100,   "R_PPC64_TPREL16_HIGHESTA", TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=HIGHESTA),
    Reloc(110,   "R_PPC64_ADDR16_HIGH",      S + A,          2,    "wrap",   field=HIGH),
    Reloc(111,   "R_PPC64_ADDR16_HIGHA",     S + A,          2,    "wrap",   field=HIGHA),
    Reloc(112,   "R_PPC64_TPREL16_HIGH",     TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=HIGH),
    Reloc(113,   "R_PPC64_TPREL16_HIGHA",    TPREL,          2,    "wrap",   Action.STORE,     "plt",  field=HIGHA),
    Reloc(247,   "R_PPC64_JMP_IREL",         B + A,          8,    "wrap",   Action.IFUNC),
    Reloc(248,   "R_PPC64_IRELATIVE",        B + A,          8,    "wrap",   Action.IFUNC),
)
# fmt: on

DT_PPC64_GLINK = 0x70000000
DT_PPC64_OPT = 0x70000003
PPC64_OPT_TLS = 1
PPC64_OPT_MULTI_TOC = 2
PPC64_OPT_LOCALENTRY = 4

# Bits of AT_HWCAP2 each level needs (sysdeps/powerpc/powerpc64/le/dl-hwcaps-subdirs.c).
LEVELS = (
    ("power10", 0x00040000 | 0x00020000),  # ARCH_3_1, MMA
    ("power9", 0x00800000 | 0x00400000),  # ARCH_3_00, IEEE128
)


def count_levels(cpu: Cpu) -> int:
    """How many of LEVELS, from the last, *cpu* reaches."""
    count = 0
    for _, bits in reversed(LEVELS):
        if cpu.hwcap2 & bits != bits:
            break
        count += 1
    return count


def compatible(main: int, library: int) -> str | None:
    """The ABI version in the low two bits (sysdeps/powerpc/powerpc64/dl-machine.h); 0 fits all."""
    ours, theirs = main & 3 or 2, library & 3
    if theirs and theirs != ours:
        return f"ELFv{theirs} ABI, the program's is ELFv{ours}"
    return None


def local_entry(st_other: int) -> int:
    """Bytes from the global to the local entry point: PPC64_LOCAL_ENTRY_OFFSET of <elf.h>."""
    return 1 << (st_other >> 5 & 7) >> 2 << 2


ARCH = Arch(
    name="ppc64le",
    uname="ppc64le",
    psabi=PSABI,
    machine=21,
    bits=64,
    orders=("<",),
    page_size=0x10000,
    max_page_size=0x10000,
    relocs=RELOCS,
    tls=Tls(variant=1, tcb_size=0, tp_bias=0x7000, dtp_bias=0x8000, register="r13", descriptor=()),
    got=Got(
        reserved=2,
        resolver=0,
        link_map=1,
        lazy_slots="computed",
        at_binder="r0 = index of the record in .rela.plt, r11 = link_map; jump with r12 = target",
    ),
    interpreters=("/lib64/ld64.so.2",),
    soname="ld64.so.2",
    musl=("powerpc64le",),
    triplets=("powerpc64le-linux-gnu", "powerpc64le-linux-musl"),
    upstream_lib="lib64",
    platform="power8",
    cache_flags=0x0503,
    hwcaps=tuple(name for name, _ in LEVELS),
    count_hwcaps=count_levels,
    legacy_hwcaps={10: "dfp", 28: "altivec"},
    baseline=cpu(hwcap=1 << 10 | 1 << 28, platform="power8"),
    compatible=compatible,
    local_entry=local_entry,
    registers={
        "sp": "r1",
        "pc": "pc",
        "fini": "r7",
        "arguments": "r3 r4 r5 r6 r7 r8 r9 r10",
        "result": "r3",
    },
    stack_align=16,
)

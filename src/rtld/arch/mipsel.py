"""MIPS, 32 bits, little-endian, ABI o32, from the linker's point of view.

As n64 (arch/mips64el.py): a global offset table that is relocated without records, REL, no RELATIVE, no IRELATIVE, no TLS
descriptors. Otherwise: r_info is the usual one, a data word is REL32 alone, and only $4-$7 carry arguments; the caller leaves
room for them on the stack.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Got, ImplicitGot, Tls, variant_of
from rtld.arch.mips_flags import EF_MIPS_NAN2008, compatible
from rtld.core.reloc import Action, Reloc, table
from rtld.core.terms import TP, ZERO, A, M, S, T

PSABI = (
    "MIPS psABI supplement (System V ABI, MIPS processor supplement, 3rd edition)",
    "https://www.linux-mips.org/pub/linux/mips/doc/ABI/",
)

# fmt: off
RELOCS = table(
    #     number name                   value             width check   action            lookup
    Reloc(0,    "R_MIPS_NONE",          ZERO,             0,    "wrap", Action.NONE),
    Reloc(3,    "R_MIPS_REL32",         S + A,            4,            note="symbol 0: S is B; else S is the symbol's GOT word"),
    Reloc(38,   "R_MIPS_TLS_DTPMOD32",  M,                4),
    Reloc(39,   "R_MIPS_TLS_DTPREL32",  T + A - 0x8000,   4),
    Reloc(47,   "R_MIPS_TLS_TPREL32",   TP + T + A - 0x7000, 4),
    Reloc(51,   "R_MIPS_GLOB_DAT",      S,                4,            note="S is the symbol's GOT word"),
    Reloc(126,  "R_MIPS_COPY",          S,                0,    "wrap", Action.COPY,      "copy"),
    Reloc(127,  "R_MIPS_JUMP_SLOT",     S,                4,    "wrap", Action.JUMP_SLOT, "plt"),
)
# fmt: on

ARCH = Arch(
    name="mipsel",
    uname="mips",
    psabi=PSABI,
    machine=8,
    bits=32,
    orders=("<",),
    max_page_size=0x10000,
    osabi={0: 6, 3: 6},
    uses_rela=False,
    relocs=RELOCS,
    tls=Tls(
        variant=1,
        tcb_size=0,
        tp_bias=0x7000,
        dtp_bias=0x8000,
        register="userlocal",
        descriptor=(),
    ),
    got=Got(
        reserved=2,
        resolver=0,
        link_map=1,
        lazy_slots="stub",
        at_binder="t7 = caller's ra, t8 = dynamic symbol index (PLT: slot index), ra in the stub; "
        "restore ra from t7, jump with t9 = target",
    ),
    implicit_got=ImplicitGot(
        DT_LOCAL_GOTNO=0x7000000A,
        DT_SYMTABNO=0x70000011,
        DT_GOTSYM=0x70000013,
        DT_PLTGOT=0x70000032,
        DT_RLD_MAP=0x70000016,
        DT_RLD_MAP_REL=0x70000035,
        STO_PLT=0x8,
        gnu_mask=1 << 31,
        gp_offset=0x7FF0,
    ),
    dynamic_relocated=False,
    interpreters=("/lib/ld.so.1",),
    soname="ld.so.1",
    musl=("mipsel", "mipsel-sf"),
    triplets=("mipsel-linux-gnu", "mipsel-linux-musl"),
    upstream_lib="lib",
    platform=None,
    cache_flags=0x0003,
    compatible=compatible,
    registers={
        "sp": "$29",
        "pc": "pc",
        "fini": "$2",
        "arguments": "$4 $5 $6 $7",
        "result": "$2",
    },
    stack_align=8,
)

NAN2008 = variant_of(
    ARCH,
    interpreters=("/lib/ld-linux-mipsn8.so.1",),
    soname="ld-linux-mipsn8.so.1",
    cache_flags=0x0C03,
)


def for_flags(e_flags: int) -> Arch:
    """The ABI that a program's e_flags name."""
    return NAN2008 if e_flags & EF_MIPS_NAN2008 else ARCH

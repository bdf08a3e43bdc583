"""MIPS64 little-endian, ABI n64, from the linker's point of view.

The odd one. REL by default. r_info holds a symbol and three one-byte types applied in turn, stored
in an order of its own on little-endian machines; a data word is the compound REL32, 64, NONE, which
we number 0x1203 as a whole (first type in the low byte). There is no RELATIVE: REL32/64 with symbol
0 is it. GLOB_DAT and symbolic words copy what the GOT says.

Most binding has no relocation records at all. DT_PLTGOT points to a GOT of DT_MIPS_LOCAL_GOTNO local
words, to each of which B is added (but for word 0, and word 1 if its top bit marks a GNU object:
these are the binder's and the link_map), followed by one word for each dynamic symbol from
DT_MIPS_GOTSYM to DT_MIPS_SYMTABNO, to be bound to that symbol:

    undefined function, st_value != 0, not STO_MIPS_PLT   st_value is a lazy stub: lazily B +
                                                          st_value, else the definition (plt look-up)
    undefined otherwise, or common                        the definition (data look-up)
    defined function whose word differs from st_value     lazily add B, else the definition (plt)
    section symbol                                        add B when st_other is 0
    anything else                                         the definition (data look-up)

gp = GOT + 0x7ff0. Executables may have a PLT with JUMP_SLOT records besides, whose two reserved
words DT_MIPS_PLTGOT points to. ld.so leaves the dynamic section alone; DT_MIPS_RLD_MAP(_REL) says
where it puts the r_debug pointer.

TLS variant 1; the thread pointer is 0x7000 above the first block, DTPREL values are 0x8000 short.
No TLS descriptors, no IRELATIVE.

A lazy stub loads GOT[0], the return address goes to t7 ($15), the symbol index to t8 ($24), and it
jumps through t9 ($25). $4-$11 and $f12-$f19 carry arguments. Functions expect their own address in
$25. At program entry: $29 16-aligned on argc, $2 = rtld_fini.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Got, ImplicitGot, Rinfo, Tls, variant_of
from rtld.arch.mips_flags import EF_MIPS_NAN2008, compatible
from rtld.core.reloc import Action, Reloc, table
from rtld.core.terms import TP, ZERO, A, M, S, T

PSABI = (
    "64-bit ELF Object File Specification (MIPS/SGI) and MIPS psABI supplement",
    "https://www.linux-mips.org/pub/linux/mips/doc/ABI/",
)

# The first type in the low byte of a number; a name joins the types with "/".
# fmt: off
RELOCS = table(
    #     number  name                         value                width check   action            lookup
    Reloc(0,      "R_MIPS_NONE",               ZERO,                0,    "wrap", Action.NONE),
    Reloc(18,     "R_MIPS_64",                 ZERO,                0,    "wrap", Action.NONE,      note="only the dummy with symbol 0 is legal"),
    Reloc(40,     "R_MIPS_TLS_DTPMOD64",       M),
    Reloc(41,     "R_MIPS_TLS_DTPREL64",       T + A - 0x8000),
    Reloc(48,     "R_MIPS_TLS_TPREL64",        TP + T + A - 0x7000),
    Reloc(126,    "R_MIPS_COPY",               S,                   0,    "wrap", Action.COPY,      "copy"),
    Reloc(127,    "R_MIPS_JUMP_SLOT",          S,                   8,    "wrap", Action.JUMP_SLOT, "plt"),
    Reloc(0x1203, "R_MIPS_REL32/R_MIPS_64",    S + A,               note="symbol 0: S is B; else S is the symbol's GOT word"),
    Reloc(0x1233, "R_MIPS_GLOB_DAT/R_MIPS_64", S,                   note="S is the symbol's GOT word"),
)
# fmt: on

ARCH = Arch(
    name="mips64el",
    uname="mips64",
    psabi=PSABI,
    machine=8,
    bits=64,
    orders=("<",),
    page_size=0x4000,
    max_page_size=0x10000,
    osabi={0: 6, 3: 6},
    uses_rela=False,
    rinfo=Rinfo(symbol=(0, 32), types=((56, 8), (48, 8), (40, 8))),
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
        gnu_mask=1 << 63,
        gp_offset=0x7FF0,
    ),
    dynamic_relocated=False,
    interpreters=("/lib64/ld.so.1",),
    soname="ld.so.1",
    musl=("mips64el", "mips64el-sf"),
    triplets=("mips64el-linux-gnuabi64", "mips64el-linux-musl"),
    upstream_lib="lib64",
    platform=None,
    cache_flags=0x0703,
    compatible=compatible,
    registers={
        "sp": "$29",
        "pc": "pc",
        "fini": "$2",
        "arguments": "$4 $5 $6 $7 $8 $9 $10 $11",
        "result": "$2",
    },
    stack_align=16,
)

NAN2008 = variant_of(
    ARCH,
    interpreters=("/lib64/ld-linux-mipsn8.so.1",),
    soname="ld-linux-mipsn8.so.1",
    cache_flags=0x0E03,
)


def for_flags(e_flags: int) -> Arch:
    """The ABI that a program's e_flags name."""
    return NAN2008 if e_flags & EF_MIPS_NAN2008 else ARCH

"""LoongArch, 64 bits, from the linker's point of view.

RELA and the fewest types of all; R_LARCH_64 plays GLOB_DAT. ld.so does not look at e_flags (the
floating-point ABI and the object ABI version), nor are TLS relocations a look-up class of their own.

TLS variant 1 with the TCB below tp ($r2): the main program's block starts at tp; no biases. TLS
descriptors came with glibc 2.40.

A PLT entry leaves its return point in $t1 and jumps to PLT0, which jumps through GOT[0] with
$t0 = GOT[1] (link_map) and $t1 = 8 * index, as on RISC-V. a0-a7 and fa0-fa7 carry arguments.

At program entry: $sp 16-aligned on argc, $a0 = rtld_fini. The usual kernel page is 16 KiB.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Got, Tls
from rtld.core.reloc import Action, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, M, S, T

PSABI = (
    "ELF for the LoongArch Architecture, Relocations",
    "https://github.com/loongson/la-abi-specs/blob/release/laelf.adoc",
)

# fmt: off
RELOCS = table(
    #     number name                    value       width check     action            lookup
    Reloc(0,     "R_LARCH_NONE",         ZERO,       0,    "wrap",   Action.NONE),
    Reloc(1,     "R_LARCH_32",           S + A,      4,    "either", note="LA32's; LA64 ld.so refuses it"),
    Reloc(2,     "R_LARCH_64",           S + A),
    Reloc(3,     "R_LARCH_RELATIVE",     B + A),
    Reloc(4,     "R_LARCH_COPY",         S,          0,    "wrap",   Action.COPY,      "copy"),
    Reloc(5,     "R_LARCH_JUMP_SLOT",    S + A,      8,    "wrap",   Action.JUMP_SLOT, "plt"),
    Reloc(7,     "R_LARCH_TLS_DTPMOD64", M),
    Reloc(9,     "R_LARCH_TLS_DTPREL64", T + A),
    Reloc(11,    "R_LARCH_TLS_TPREL64",  TP + T + A),
    Reloc(12,    "R_LARCH_IRELATIVE",    B + A,      8,    "wrap",   Action.IFUNC),
    Reloc(14,    "R_LARCH_TLS_DESC64",   T + A,      16,   "wrap",   Action.TLSDESC,   addend_at=8, note="glibc 2.40"),
)
# fmt: on

ARCH = Arch(
    name="loongarch64",
    uname="loongarch64",
    psabi=PSABI,
    machine=258,
    bits=64,
    orders=("<",),
    page_size=0x4000,
    max_page_size=0x10000,
    osabi={0: 1, 3: 3},
    relocs=RELOCS,
    tls=Tls(
        variant=1,
        tcb_size=0,
        tp_bias=0,
        dtp_bias=0,
        register="tp",
        descriptor=("entry", "argument"),
    ),
    got=Got(
        reserved=2,
        resolver=0,
        link_map=1,
        lazy_slots="add base",
        at_binder="t0 = GOT[1], t1 = 8 * index of the record; jump, nothing to undo",
    ),
    interpreters=("/lib64/ld-linux-loongarch-lp64d.so.1",),
    soname="ld-linux-loongarch-lp64d.so.1",
    musl=("loongarch64", "loongarch64-sf", "loongarch64-sp"),
    triplets=("loongarch64-linux-gnu", "loongarch64-linux-musl"),
    upstream_lib="lib64",
    platform="loongarch",
    cache_flags=0x0003,
    cache_accepts=(0x0001,),
    registers={
        "sp": "sp",
        "pc": "pc",
        "fini": "a0",
        "arguments": "a0 a1 a2 a3 a4 a5 a6 a7",
        "result": "a0",
    },
    stack_align=16,
)

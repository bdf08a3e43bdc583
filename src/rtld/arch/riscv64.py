"""RISC-V, 64 bits, from the linker's point of view.

RELA with few dynamic types: R_RISCV_64 plays GLOB_DAT. DT_RELASZ counts the JMPREL records too, and
R_RISCV_NONE fills the gaps that relaxation left. RELATIVE places may be unaligned. ld.so leaves the
addresses in the dynamic section unrelocated. Libraries must have the program's floating-point ABI
(e_flags): single and quad exist on paper.

TLS variant 1 with the TCB below tp: the main program's block starts at tp itself. DTPREL values are
0x800 short, which __tls_get_addr adds. Relaxed code in executables reads data relative to gp, which
the startup code sets from __global_pointer$ (ld.so does so too, for early IFUNC resolvers).

A PLT entry leaves its return point in t1 and jumps to PLT0, which jumps through GOT[0] with
t0 = GOT[1] (link_map) and t1 = 8 * index. a0-a7 and fa0-fa7 carry arguments.

IFUNC resolvers get (hwcap, &__riscv_hwprobe or NULL). At program entry: sp 16-aligned on argc,
a0 = rtld_fini.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Got, Tls, variant_of
from rtld.core.reloc import Action, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, M, S, T

PSABI = (
    "RISC-V ABIs Specification: ELF psABI, chapter 8.5, Relocations",
    "https://github.com/riscv-non-isa/riscv-elf-psabi-doc",
)

# fmt: off
RELOCS = table(
    #     number name                    value          width check     action            lookup
    Reloc(0,     "R_RISCV_NONE",         ZERO,          0,    "wrap",   Action.NONE),
    Reloc(1,     "R_RISCV_32",           S + A,         4,    "either", note="RV32's; RV64 ld.so refuses it"),
    Reloc(2,     "R_RISCV_64",           S + A),
    Reloc(3,     "R_RISCV_RELATIVE",     B + A),
    Reloc(4,     "R_RISCV_COPY",         S,             0,    "wrap",   Action.COPY,      "copy"),
    Reloc(5,     "R_RISCV_JUMP_SLOT",    S + A,         8,    "wrap",   Action.JUMP_SLOT, "plt"),
    Reloc(7,     "R_RISCV_TLS_DTPMOD64", M,             8,    "wrap",   Action.STORE,     "plt"),
    Reloc(9,     "R_RISCV_TLS_DTPREL64", T + A - 0x800, 8,    "wrap",   Action.STORE,     "plt"),
    Reloc(11,    "R_RISCV_TLS_TPREL64",  TP + T + A,    8,    "wrap",   Action.STORE,     "plt"),
    Reloc(12,    "R_RISCV_TLSDESC",      T + A,         16,   "wrap",   Action.TLSDESC,   "plt",  addend_at=8, note="musl; not glibc 2.36"),
    Reloc(58,    "R_RISCV_IRELATIVE",    B + A,         8,    "wrap",   Action.IFUNC),
)
# fmt: on

EF_RISCV_FLOAT_ABI = 0x6
FLOAT_ABIS = {0: "soft", 2: "single", 4: "double", 6: "quad"}


def compatible(main: int, library: int) -> str | None:
    """glibc: elf_machine_matches_host, sysdeps/riscv/dl-machine.h."""
    ours, theirs = main & EF_RISCV_FLOAT_ABI, library & EF_RISCV_FLOAT_ABI
    if ours == theirs:
        return None
    return f"{FLOAT_ABIS[theirs]}-float ABI, the program's is {FLOAT_ABIS[ours]}-float"


ARCH = Arch(
    name="riscv64",
    uname="riscv64",
    psabi=PSABI,
    machine=243,
    bits=64,
    orders=("<",),
    relocs=RELOCS,
    tls=Tls(
        variant=1,
        tcb_size=0,
        tp_bias=0,
        dtp_bias=0x800,
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
    relasz_includes_jmprel=True,
    dynamic_relocated=False,
    interpreters=("/lib/ld-linux-riscv64-lp64d.so.1",),
    soname="ld-linux-riscv64-lp64d.so.1",
    musl=("riscv64",),
    triplets=("riscv64-linux-gnu", "riscv64-linux-musl"),
    upstream_lib="lib64/lp64d",
    platform=None,
    cache_flags=0x1003,
    compatible=compatible,
    registers={
        "sp": "sp",
        "pc": "pc",
        "fini": "a0",
        "arguments": "a0 a1 a2 a3 a4 a5 a6 a7",
        "result": "a0",
    },
    stack_align=16,
)

SOFT = variant_of(
    ARCH,
    interpreters=("/lib/ld-linux-riscv64-lp64.so.1",),
    soname="ld-linux-riscv64-lp64.so.1",
    musl=("riscv64-sf",),
    upstream_lib="lib64/lp64",
    cache_flags=0x0F03,
)


def for_flags(e_flags: int) -> Arch:
    """The ABI that a program's e_flags name."""
    return SOFT if e_flags & EF_RISCV_FLOAT_ABI == 0 else ARCH

"""AArch64 from the linker's point of view.

RELA, either byte order (ILP32 is not served). Unlike x86-64's, GLOB_DAT and JUMP_SLOT add their
addend. Linkers align segments for 64 KiB pages, so load addresses must be multiples of that too.

TLS variant 1: TPIDR_EL0 points to a TCB of two words, the main program's block follows it. The
default TLS model of compilers is the descriptor, so TLSDESC is common and DTPMOD rare; descriptors
stand in the JMPREL part as well.

A PLT entry leaves the slot's address in x16; PLT0 pushes {x16, lr} and jumps through GOT[2] with
x16 = &GOT[2]: at the binder's entry [sp] = &slot, [sp+8] = lr of the caller. x0-x8 and q0-q7 carry
arguments, x16 and x17 are free. Symbols marked STO_AARCH64_VARIANT_PCS (with DT_AARCH64_VARIANT_PCS)
use registers that a binder would not preserve: they are bound at once.

A TLS descriptor is called with its address in x0 and returns the offset in x0; x0, x1, lr aside,
nothing may change. IFUNC resolvers get (hwcap | 1 << 62, &{size, hwcap, hwcap2}).

At program entry: sp 16-aligned on argc, x0 = rtld_fini, other registers undefined.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Got, Stub, Tls
from rtld.core.reloc import Action, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, M, S, T

PSABI = (
    "ELF for the Arm 64-bit Architecture (AArch64), section 5.7.11, Dynamic relocations",
    "https://github.com/ARM-software/abi-aa/blob/main/aaelf64/aaelf64.rst",
)

# fmt: off
RELOCS = table(
    #     number name                    value       width check     action            lookup
    Reloc(0,     "R_AARCH64_NONE",       ZERO,       0,    "wrap",   Action.NONE),
    Reloc(257,   "R_AARCH64_ABS64",      S + A),
    Reloc(258,   "R_AARCH64_ABS32",      S + A,      4,    "either", note="glibc's ld.so stores 8 bytes"),
    Reloc(1024,  "R_AARCH64_COPY",       S,          0,    "wrap",   Action.COPY,      "copy"),
    Reloc(1025,  "R_AARCH64_GLOB_DAT",   S + A),
    Reloc(1026,  "R_AARCH64_JUMP_SLOT",  S + A,      8,    "wrap",   Action.JUMP_SLOT, "plt"),
    Reloc(1027,  "R_AARCH64_RELATIVE",   B + A),
    Reloc(1028,  "R_AARCH64_TLS_DTPMOD", M,          8,    "wrap",   Action.STORE,     "plt"),
    Reloc(1029,  "R_AARCH64_TLS_DTPREL", T + A,      8,    "wrap",   Action.STORE,     "plt"),
    Reloc(1030,  "R_AARCH64_TLS_TPREL",  TP + T + A, 8,    "wrap",   Action.STORE,     "plt"),
    Reloc(1031,  "R_AARCH64_TLSDESC",    T + A,      16,   "wrap",   Action.TLSDESC,   "plt",  addend_at=8),
    Reloc(1032,  "R_AARCH64_IRELATIVE",  B + A,      8,    "wrap",   Action.IFUNC),
)
# fmt: on

DT_AARCH64_VARIANT_PCS = 0x70000005
STO_AARCH64_VARIANT_PCS = 0x80

STUBS = {
    # ptrdiff_t tlsdesc_static(struct tlsdesc *td in x0) { return td->argument; }
    "tlsdesc_static": Stub("""
        00 04 40 f9     ldr  x0, [x0, #8]
        c0 03 5f d6     ret
    """),
    # ptrdiff_t tlsdesc_undefweak(td) { return td->argument - thread_pointer; }  so that &x == addend
    "tlsdesc_undefweak": Stub("""
        e1 0b bf a9     stp  x1, x2, [sp, #-16]!
        00 04 40 f9     ldr  x0, [x0, #8]
        41 d0 3b d5     mrs  x1, tpidr_el0
        00 00 01 cb     sub  x0, x0, x1
        e1 0b c1 a8     ldp  x1, x2, [sp], #16
        c0 03 5f d6     ret
    """),
}

ARCH = Arch(
    name="aarch64",
    uname="aarch64",
    psabi=PSABI,
    machine=183,
    bits=64,
    orders=("<", ">"),
    max_page_size=0x10000,
    osabi={0: 1, 3: 3},
    relocs=RELOCS,
    tls=Tls(
        variant=1,
        tcb_size=16,
        tp_bias=0,
        dtp_bias=0,
        register="tpidr_el0",
        descriptor=("entry", "argument"),
    ),
    got=Got(
        reserved=3,
        resolver=2,
        link_map=1,
        lazy_slots="add base",
        at_binder="[sp] = &slot, [sp+8] = caller's lr, x16 = &GOT[2]; pop 16 bytes, restore lr, branch",
    ),
    interpreters=("/lib/ld-linux-aarch64.so.1", "/lib/ld-linux-aarch64_be.so.1"),
    soname="ld-linux-aarch64.so.1",
    musl=("aarch64", "aarch64_be"),
    triplets=("aarch64-linux-gnu", "aarch64-linux-musl"),
    upstream_lib="lib64",
    platform="aarch64",
    cache_flags=0x0A03,
    legacy_hwcaps={8: "atomics"},
    registers={
        "sp": "sp",
        "pc": "pc",
        "fini": "x0",
        "arguments": "x0 x1 x2 x3 x4 x5 x6 x7",
        "result": "x0",
    },
    stack_align=16,
    stubs=STUBS,
)

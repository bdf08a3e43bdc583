"""i386 from the linker's point of view.

REL: the addend stands in the place, so relocating the same place twice is wrong. Values wrap at 32
bits and nothing is checked. No %eip-relative data: PIC keeps the GOT in %ebx, and non-PIC libraries
(DT_TEXTREL) with R_386_32 and R_386_PC32 in code still exist.

TLS variant 2, thread pointer at %gs:0. Two signs: TLS_TPOFF is the (negative) offset to add, and
TLS_TPOFF32, the Sun convention, is the (positive) one to subtract. ld.so ignores the addend of
DTPOFF32.

A PLT entry pushes the byte offset of its record (8 bytes each) and jumps to PLT0, which pushes
GOT[1] and jumps through GOT[2]. eax, ecx and edx may carry arguments (regparm).

A TLS descriptor is called with its address in %eax and returns the offset from %gs:0 in %eax.

At program entry: esp 16-aligned on argc, edx = rtld_fini.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Cpu, Got, Stub, Tls, cpu
from rtld.core.reloc import Action, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, M, P, S, T, Z

PSABI = (
    "System V Application Binary Interface, Intel386 Architecture Processor Supplement, 1.1",
    "https://gitlab.com/x86-psABIs/i386-ABI",
)

# fmt: off
RELOCS = table(
    #     number name                  value       width check   action            lookup
    Reloc(0,     "R_386_NONE",         ZERO,       0,    "wrap", Action.NONE),
    Reloc(1,     "R_386_32",           S + A,      4),
    Reloc(2,     "R_386_PC32",         S + A - P,  4),
    Reloc(5,     "R_386_COPY",         S,          0,    "wrap", Action.COPY,      "copy"),
    Reloc(6,     "R_386_GLOB_DAT",     S,          4),
    Reloc(7,     "R_386_JMP_SLOT",     S,          4,    "wrap", Action.JUMP_SLOT, "plt"),
    Reloc(8,     "R_386_RELATIVE",     B + A,      4),
    Reloc(14,    "R_386_TLS_TPOFF",    TP + T + A, 4,    "wrap", Action.STORE,     "plt"),
    Reloc(35,    "R_386_TLS_DTPMOD32", M,          4,    "wrap", Action.STORE,     "plt"),
    Reloc(36,    "R_386_TLS_DTPOFF32", T,          4,    "wrap", Action.STORE,     "plt"),
    Reloc(37,    "R_386_TLS_TPOFF32",  A - TP - T, 4,    "wrap", Action.STORE,     "plt"),
    Reloc(38,    "R_386_SIZE32",       Z + A,      4),
    Reloc(41,    "R_386_TLS_DESC",     T + A,      8,    "wrap", Action.TLSDESC,   "plt",  addend_at=4),
    Reloc(42,    "R_386_IRELATIVE",    B + A,      4,    "wrap", Action.IFUNC),
)
# fmt: on


def legacy_names(cpu: Cpu) -> tuple[str, ...]:
    """Capabilities and platform of glibc 2.36 (sysdeps/x86/cpu-features.c)."""
    names = ("sse2",) if "sse2" in cpu.flags else ()
    if "cmov" in cpu.flags:
        return (*names, "i686")
    if "cx8" in cpu.flags:
        return (*names, "i586")
    return (*names, cpu.platform or "i386")


STUBS = {
    # ptrdiff_t tlsdesc_static(struct tlsdesc *td in %eax) { return td->argument; }
    "tlsdesc_static": Stub("""
        8b 40 04    mov  4(%eax), %eax
        c3          ret
    """),
    # ptrdiff_t tlsdesc_undefweak(td) { return td->argument - thread_pointer; }  so that &x == addend
    "tlsdesc_undefweak": Stub("""
        8b 40 04                mov  4(%eax), %eax
        65 2b 05 00 00 00 00    sub  %gs:0, %eax
        c3                      ret
    """),
}

ARCH = Arch(
    name="i386",
    uname="i686",
    psabi=PSABI,
    machine=3,
    bits=32,
    orders=("<",),
    relocs=RELOCS,
    tls=Tls(
        variant=2,
        tcb_size=0,
        tp_bias=0,
        dtp_bias=0,
        register="gs_base",
        descriptor=("entry", "argument"),
    ),
    got=Got(
        reserved=3,
        resolver=2,
        link_map=1,
        lazy_slots="add base",
        at_binder="[esp] = GOT[1], [esp+4] = byte offset in .rel.plt (8 a record); drop both, then jump",
    ),
    interpreters=("/lib/ld-linux.so.2",),
    soname="ld-linux.so.2",
    musl=("i386",),
    triplets=("i386-linux-gnu", "i386-linux-musl"),
    upstream_lib="lib",
    platform="i686",
    cache_flags=0x0003,
    cache_accepts=(0x0001,),
    baseline=cpu("fpu cx8 cmov sse sse2", platform="i686"),
    legacy_names=legacy_names,
    registers={"sp": "esp", "pc": "eip", "fini": "edx", "arguments": "", "result": "eax"},
    stack_align=16,
    stubs=STUBS,
)

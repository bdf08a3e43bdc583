"""x86-64 from the linker's point of view.

The psABI's reference machine: RELA only, little-endian, 4 KiB pages, TLS variant 2 (the thread pointer
is %fs:0 and blocks lie below it). GLOB_DAT and JUMP_SLOT ignore their addend. Code reaches its own
data through %rip, so nothing but data words is relocated in sound files; PC32 and 32 appear in text
only when non-PIC code is put into a shared library.

A PLT entry pushes its index and jumps to PLT0, which pushes GOT[1] and jumps through GOT[2]: at the
binder's entry the stack holds link_map, index, return address. Any register may carry an argument
(rdi rsi rdx rcx r8 r9 rax r10, vectors up to 512 bits), r11 is free: the binder preserves the rest.

A TLS descriptor is called with its own address in %rax and returns an offset from %fs:0 in %rax,
preserving every other register.

At program entry: rsp 16-aligned on argc, rdx = function for atexit (rtld_fini) or 0, rbp to be 0.
x87 control word 0x37f, MXCSR 0x1f80. glibc replaces AT_PLATFORM by the CPU's own class on Intel.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Cpu, Got, Stub, Tls
from rtld.core.reloc import Action, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, M, P, S, T, Z

PSABI = (
    "System V Application Binary Interface, AMD64 Architecture Processor Supplement, 4.4 and 4.10",
    "https://gitlab.com/x86-psABIs/x86-64-ABI",
)

# fmt: off
RELOCS = table(
    #     number name                   value       width check       action            lookup
    Reloc(0,     "R_X86_64_NONE",       ZERO,       0,    "wrap",     Action.NONE),
    Reloc(1,     "R_X86_64_64",         S + A),
    Reloc(2,     "R_X86_64_PC32",       S + A - P,  4,    "signed"),
    Reloc(5,     "R_X86_64_COPY",       S,          0,    "wrap",     Action.COPY,      "copy"),
    Reloc(6,     "R_X86_64_GLOB_DAT",   S),
    Reloc(7,     "R_X86_64_JUMP_SLOT",  S,          8,    "wrap",     Action.JUMP_SLOT, "plt"),
    Reloc(8,     "R_X86_64_RELATIVE",   B + A),
    Reloc(10,    "R_X86_64_32",         S + A,      4,    "unsigned"),
    Reloc(16,    "R_X86_64_DTPMOD64",   M,          8,    "wrap",     Action.STORE,     "plt"),
    Reloc(17,    "R_X86_64_DTPOFF64",   T + A,      8,    "wrap",     Action.STORE,     "plt"),
    Reloc(18,    "R_X86_64_TPOFF64",    TP + T + A, 8,    "wrap",     Action.STORE,     "plt"),
    Reloc(24,    "R_X86_64_PC64",       S + A - P,  note="glibc's ld.so refuses it"),
    Reloc(32,    "R_X86_64_SIZE32",     Z + A,      4,    "unsigned"),
    Reloc(33,    "R_X86_64_SIZE64",     Z + A),
    Reloc(36,    "R_X86_64_TLSDESC",    T + A,      16,   "wrap",     Action.TLSDESC,   "plt",  addend_at=8),
    Reloc(37,    "R_X86_64_IRELATIVE",  B + A,      8,    "wrap",     Action.IFUNC),
    Reloc(38,    "R_X86_64_RELATIVE64", B + A,      note="for x32, where a word is 4 bytes"),
)
# fmt: on

# The micro-architecture levels, by the names of /proc/cpuinfo; each includes the ones below it.
# glibc 2.36 sysdeps/x86/get-isa-level.h (which asks less than the psABI: no BMI1, BMI2 in v3).
LEVELS = (
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
    ("x86-64-v3", "avx avx2 f16c fma abm movbe"),
    ("x86-64-v2", "cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2"),
)
BASELINE = "cmov cx8 fpu fxsr mmx sse sse2"

HASWELL = "avx2 fma bmi1 bmi2 abm movbe popcnt"


def count_levels(cpu: Cpu) -> int:
    """How many of LEVELS, from the last, *cpu* reaches."""
    count = 0
    if cpu.flags.issuperset(BASELINE.split()):
        for _, flags in reversed(LEVELS):
            if not cpu.flags.issuperset(flags.split()):
                break
            count += 1
    return count


def legacy_names(cpu: Cpu) -> tuple[str, ...]:
    """Capabilities and platform of glibc 2.36 (sysdeps/x86/cpu-features.c: only Intel's differ)."""
    has = cpu.flags.issuperset
    names = ["x86_64"]
    platform = cpu.platform or "x86_64"
    if cpu.vendor == "GenuineIntel":
        if has(("avx512cd", "avx512er")):
            if has(("avx512pf",)):
                platform = "xeon_phi"
        elif has(("avx512cd", "avx512bw", "avx512dq", "avx512vl")):
            names.append("avx512_1")
        if platform != "xeon_phi" and has(HASWELL.split()):
            platform = "haswell"
    return (*names, platform)


STUBS = {
    # ptrdiff_t tlsdesc_static(struct tlsdesc *td in %rax) { return td->argument; }
    "tlsdesc_static": Stub("""
        48 8b 40 08     mov  8(%rax), %rax
        c3              ret
    """),
    # ptrdiff_t tlsdesc_undefweak(td) { return td->argument - thread_pointer; }  so that &x == addend
    "tlsdesc_undefweak": Stub("""
        48 8b 40 08                 mov  8(%rax), %rax
        64 48 2b 04 25 00 00 00 00  sub  %fs:0, %rax
        c3                          ret
    """),
}

ARCH = Arch(
    name="x86_64",
    uname="x86_64",
    psabi=PSABI,
    machine=62,
    bits=64,
    orders=("<",),
    relocs=RELOCS,
    tls=Tls(
        variant=2,
        tcb_size=0,
        tp_bias=0,
        dtp_bias=0,
        register="fs_base",
        descriptor=("entry", "argument"),
    ),
    got=Got(
        reserved=3,
        resolver=2,
        link_map=1,
        lazy_slots="add base",
        at_binder="[rsp] = GOT[1], [rsp+8] = index of the record in .rela.plt; drop both, then jump",
    ),
    interpreters=("/lib64/ld-linux-x86-64.so.2",),
    soname="ld-linux-x86-64.so.2",
    musl=("x86_64",),
    triplets=("x86_64-linux-gnu", "x86_64-linux-musl"),
    upstream_lib="lib64",
    platform="x86_64",
    cache_flags=0x0303,
    hwcaps=tuple(name for name, _ in LEVELS),
    count_hwcaps=count_levels,
    legacy_names=legacy_names,
    registers={
        "sp": "rsp",
        "pc": "rip",
        "fini": "rdx",
        "arguments": "rdi rsi rdx rcx r8 r9",
        "result": "rax",
    },
    stack_align=16,
    stubs=STUBS,
)

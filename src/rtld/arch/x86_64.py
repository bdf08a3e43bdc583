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

# Not for the target: what the linker itself does most, in this process. rdi = positions, base + position = address.
KERNELS = {
    # for (i = 0; i < n; i++) { for (h = 5381, p = base + at[i]; *p; p++) h = h * 33 + *p; hash[i] = h; length[i] = ... }
    # void hash_names(u64 *at, u64 n, u8 *base, u64 *hash, u64 *length)
    "hash_names": Stub("""
        45 31 c9                xor %r9d, %r9d
        49 39 f1        next:   cmp %rsi, %r9
        73 3a                   jae done
        4e 8b 14 cf             mov (%rdi,%r9,8), %r10
        49 01 d2                add %rdx, %r10
        b8 05 15 00 00          mov $5381, %eax
        45 0f b6 1a     byte:   movzbl (%r10), %r11d
        49 ff c2                inc %r10
        45 85 db                test %r11d, %r11d
        74 0b                   je end
        41 01 c3                add %eax, %r11d
        c1 e0 05                shl $5, %eax
        44 01 d8                add %r11d, %eax
        eb e9                   jmp byte
        4a 89 04 c9     end:    mov %rax, (%rcx,%r9,8)
        49 29 d2                sub %rdx, %r10
        4e 2b 14 cf             sub (%rdi,%r9,8), %r10
        49 ff ca                dec %r10
        4f 89 14 c8             mov %r10, (%r8,%r9,8)
        49 ff c1                inc %r9
        eb c1                   jmp next
        c3              done:   ret
    """),
    # for (i = 0; i < n; i++) same[i] = strcmp(base + a[i], base + b[i]) == 0, eight bytes at a time
    # void same_names(u64 *a, u64 *b, u64 n, u8 *base, u8 *same)
    "same_names": Stub("""
        53                                     push %rbx
        55                                     push %rbp
        48 bb 01 01 01 01 01 01 01 01          movabs $0x0101010101010101, %rbx
        48 bd 80 80 80 80 80 80 80 80          movabs $0x8080808080808080, %rbp
        45 31 c9                               xor %r9d, %r9d
        49 39 d1                       next:   cmp %rdx, %r9
        73 57                                  jae done
        4e 8b 14 cf                            mov (%rdi,%r9,8), %r10
        4e 8b 1c ce                            mov (%rsi,%r9,8), %r11
        49 01 ca                               add %rcx, %r10
        49 01 cb                               add %rcx, %r11
        51                                     push %rcx
        49 8b 02                       word:   mov (%r10), %rax
        49 8b 0b                               mov (%r11), %rcx
        48 39 c8                               cmp %rcx, %rax
        75 1b                                  jne byte
        48 89 c1                               mov %rax, %rcx
        48 29 d9                               sub %rbx, %rcx
        48 f7 d0                               not %rax
        48 21 c1                               and %rax, %rcx
        48 21 e9                               and %rbp, %rcx
        75 1c                                  jne same
        49 83 c2 08                            add $8, %r10
        49 83 c3 08                            add $8, %r11
        eb da                                  jmp word
        38 c8                          byte:   cmp %cl, %al
        75 12                                  jne differ
        84 c0                                  test %al, %al
        74 0a                                  je same
        48 c1 e8 08                            shr $8, %rax
        48 c1 e9 08                            shr $8, %rcx
        eb ee                                  jmp byte
        b0 01                          same:   mov $1, %al
        eb 02                                  jmp store
        31 c0                          differ: xor %eax, %eax
        59                             store:  pop %rcx
        43 88 04 08                            mov %al, (%r8,%r9)
        49 ff c1                               inc %r9
        eb a4                                  jmp next
        5d                             done:   pop %rbp
        5b                                     pop %rbx
        c3                                     ret
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
    stubs=STUBS | KERNELS,
)

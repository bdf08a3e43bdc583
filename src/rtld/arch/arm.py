"""ARM (EABI version 5) from the linker's point of view.

REL; two ABIs that do not mix, told apart by e_flags: hard float (arm-linux-gnueabihf) and soft
(arm-linux-gnueabi). Unmarked objects are taken to fit both. Bit 0 of a function's address says that
it is Thumb code: it must survive every calculation, and call targets need BLX.

TLS variant 1 with a TCB of 8 bytes; thread pointer in TPIDRURO (cp15). A TLS descriptor is the other
way round than elsewhere: argument first, then entry. GLOB_DAT and JUMP_SLOT ignore the addend. PC24
patches the immediate of a branch; ld.so adds a veneer when the target is too far, we report it.

A PLT entry leaves &slot in ip (write-back of its last instruction, part of the ABI); PLT0 pushes lr
and jumps through GOT[2] with lr = &GOT[2]: index = (ip - lr - 4) / 4. r0-r3 and d0-d7 carry arguments.

At program entry: sp 8-aligned on argc, r0 = rtld_fini (a1). The EABI's exception index
(PT_ARM_EXIDX) is found with __gnu_Unwind_Find_exidx or dl_iterate_phdr.
"""

from __future__ import annotations

from rtld.arch.base import Arch, Got, Stub, Tls, cpu, variant_of
from rtld.core.reloc import Action, Field, Reloc, table
from rtld.core.terms import TP, ZERO, A, B, M, P, S, T

PSABI = (
    "ELF for the Arm Architecture, section 5.6.1.9, Dynamic relocations",
    "https://github.com/ARM-software/abi-aa/blob/main/aaelf32/aaelf32.rst",
)

BRANCH24 = Field("imm24 of B, BL", 0x00FFFFFF, shift=2, bits=26)

# fmt: off
RELOCS = table(
    #     number name                  value       width check     action            lookup
    Reloc(0,     "R_ARM_NONE",         ZERO,       0,    "wrap",   Action.NONE),
    Reloc(1,     "R_ARM_PC24",         S + A - P,  4,    "signed", field=BRANCH24),
    Reloc(2,     "R_ARM_ABS32",        S + A,      4),
    Reloc(3,     "R_ARM_REL32",        S + A - P,  4,    note="glibc's ld.so refuses it"),
    Reloc(13,    "R_ARM_TLS_DESC",     T + A,      8,    "wrap",   Action.TLSDESC,   "plt"),
    Reloc(17,    "R_ARM_TLS_DTPMOD32", M,          4,    "wrap",   Action.STORE,     "plt"),
    Reloc(18,    "R_ARM_TLS_DTPOFF32", T + A,      4,    "wrap",   Action.STORE,     "plt"),
    Reloc(19,    "R_ARM_TLS_TPOFF32",  TP + T + A, 4,    "wrap",   Action.STORE,     "plt"),
    Reloc(20,    "R_ARM_COPY",         S,          0,    "wrap",   Action.COPY,      "copy"),
    Reloc(21,    "R_ARM_GLOB_DAT",     S,          4),
    Reloc(22,    "R_ARM_JUMP_SLOT",    S,          4,    "wrap",   Action.JUMP_SLOT, "plt"),
    Reloc(23,    "R_ARM_RELATIVE",     B + A,      4),
    Reloc(160,   "R_ARM_IRELATIVE",    B + A,      4,    "wrap",   Action.IFUNC),
)
# fmt: on

EF_ARM_EABIMASK = 0xFF000000
EF_ARM_EABI_VER5 = 0x05000000
EF_ARM_ABI_FLOAT_SOFT = 0x200
EF_ARM_ABI_FLOAT_HARD = 0x400


def float_abi(e_flags: int) -> str:
    """ "hard", "soft", or "" for an object that does not say."""
    if e_flags & EF_ARM_EABIMASK != EF_ARM_EABI_VER5:
        return ""
    if e_flags & EF_ARM_ABI_FLOAT_HARD:
        return "hard"
    return "soft" if e_flags & EF_ARM_ABI_FLOAT_SOFT else ""


def compatible(main: int, library: int) -> str | None:
    """glibc: VALID_FLOAT_ABI, sysdeps/unix/sysv/linux/arm/ldsodefs.h."""
    ours, theirs = float_abi(main), float_abi(library)
    if ours and theirs and ours != theirs:
        return f"{theirs}-float ABI, the program's is {ours}-float"
    return None


STUBS = {
    # ptrdiff_t tlsdesc_static(struct tlsdesc *td in r0) { return td->argument; }
    "tlsdesc_static": Stub("""
        00 00 90 e5     ldr  r0, [r0]
        1e ff 2f e1     bx   lr
    """),
    # ptrdiff_t tlsdesc_undefweak(td) { return td->argument - thread_pointer; }  so that &x == addend
    "tlsdesc_undefweak": Stub("""
        04 10 2d e5     push {r1}
        00 00 90 e5     ldr  r0, [r0]
        70 1f 1d ee     mrc  p15, 0, r1, c13, c0, 3
        01 00 40 e0     sub  r0, r0, r1
        04 10 9d e4     pop  {r1}
        1e ff 2f e1     bx   lr
    """),
}

ARCH = Arch(
    name="arm",
    uname="armv7l",
    psabi=PSABI,
    machine=40,
    bits=32,
    orders=("<", ">"),
    max_page_size=0x10000,
    osabi={0: 1, 3: 3, 64: 1},
    relocs=RELOCS,
    tls=Tls(
        variant=1,
        tcb_size=8,
        tp_bias=0,
        dtp_bias=0,
        register="tpidruro",
        descriptor=("argument", "entry"),
    ),
    got=Got(
        reserved=3,
        resolver=2,
        link_map=1,
        lazy_slots="add base",
        at_binder="ip = &slot, lr = &GOT[2], [sp] = caller's lr; pop it into lr, branch (keep bit 0)",
    ),
    interpreters=("/lib/ld-linux-armhf.so.3",),
    soname="ld-linux-armhf.so.3",
    musl=("armhf", "armebhf"),
    triplets=("arm-linux-gnueabihf", "arm-linux-musleabihf"),
    upstream_lib="lib",
    platform="v7l",
    cache_flags=0x0903,
    cache_accepts=(0x0003,),
    legacy_hwcaps={6: "vfp", 12: "neon"},
    baseline=cpu(hwcap=1 << 6 | 1 << 12, platform="v7l"),
    compatible=compatible,
    registers={
        "sp": "sp",
        "pc": "pc",
        "fini": "r0",
        "arguments": "r0 r1 r2 r3",
        "result": "r0",
    },
    stack_align=8,
    stubs=STUBS,
)

SOFT = variant_of(
    ARCH,
    interpreters=("/lib/ld-linux.so.3",),
    soname="ld-linux.so.3",
    musl=("arm", "armeb"),
    triplets=("arm-linux-gnueabi", "arm-linux-musleabi"),
    lib="lib/arm-linux-gnueabi",
    cache_flags=0x0B03,
)


def for_flags(e_flags: int) -> Arch:
    """The ABI that a program's e_flags name."""
    return SOFT if float_abi(e_flags) == "soft" else ARCH

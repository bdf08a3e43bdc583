"""The emulated CPUs as data: names in Unicorn, state before the first instruction, system calls, C calls, exceptions.

Registers are named as Unicorn does, in lower case without its prefix. Sources: man 2 syscall (the system call
conventions); the psABIs named in ``rtld.arch`` (C calls); target/*/cpu.h of QEMU 5.0, from which Unicorn 2 was made
(numbers of exceptions). What is odd about an engine is in ``quirks``.
"""

from __future__ import annotations

import signal

from rtld.arch.base import Stub
from rtld.core.record import NamedTuple
from rtld.errors import Unsupported

SEGV, ILL, FPE, TRAP, BUS = (
    int(getattr(signal, f"SIG{name}")) for name in ("SEGV", "ILL", "FPE", "TRAP", "BUS")
)


class Entry(NamedTuple):
    """How a system call is made.

    interrupt   what Unicorn calls the exception; None: it has a hook for the instruction instead
    number      the register with the number
    arguments   the registers with up to six arguments;  result: gets the result, or -errno
    advance     what is to be added to the program counter, which Unicorn has left on the instruction
    immediate   the instruction's last byte is the number, unless it is 0 (s390x)
    error       the register that is 1 when ``result`` is an error number, not negated (MIPS); "" for none
    stack       where on the stack arguments are that have no register: offset of the fifth (MIPS o32); 0 for none
    """

    interrupt: int | None
    number: str
    arguments: tuple[str, ...]
    result: str
    advance: int = 0
    immediate: bool = False
    error: str = ""
    stack: int = 0


class Set(NamedTuple):
    """A register before the first instruction: ``value``, or with ``keep`` those bits set in what it is."""

    register: str
    value: int
    why: str
    keep: bool = False


class Boot(NamedTuple):
    """Code that must run before the first instruction, for what no register of Unicorn's reaches.

    ``base`` gets the address of a page; ``data`` is put 0x100 bytes into it. ``last``: a register that is set afterwards.
    """

    code: Stub
    base: str
    data: bytes
    why: str
    last: Set


class Cpu(NamedTuple):
    """One CPU.

    engine      Unicorn's names: architecture, modes
    registers   what is shown after a fault
    arguments   of a C function: registers; the rest is on the stack, ``area`` bytes above its pointer
    link        the register with the return address; "" if it is on the stack
    exceptions  number -> signal, words; what is not here is SIGSEGV
    nop         an instruction that does nothing
    trap        an exception that a program has no other use for, or its system call: fills the pages of traps
    area        see ``arguments``
    illegal     how an illegal instruction begins, where the number of the exception does not tell
    breaks      breakpoint instructions that are reported as illegal ones
    remaps      rights are changed by mapping again (``quirks``)
    eager       pages of files come when they are mapped: a fault cannot be repaired (``quirks``)
    model       which model Unicorn is to be; "": its own choice
    space       bytes of addresses; 0: what its bits say
    begins      the program counter is known at the beginning of a block only
    callee      the register that a function expects its own address in; "" for none
    tls         the register with the thread pointer; "" where it is no single one
    call_size   bytes of the instruction that makes a system call (Thumb: 2)
    """

    name: str
    bits: int
    order: str
    engine: tuple[str, ...]
    pc: str
    sp: str
    link: str
    result: str
    arguments: tuple[str, ...]
    registers: tuple[str, ...]
    entry: Entry
    nop: bytes
    trap: bytes
    exceptions: dict[int, tuple[int, str]]
    setup: tuple[Set, ...] = ()
    boot: Boot | None = None
    area: int = 0
    illegal: bytes = b""
    breaks: tuple[bytes, ...] = ()
    remaps: bool = False
    eager: bool = False
    model: str = ""
    space: int = 0
    callee: str = ""
    begins: bool = False
    tls: str = ""
    call_size: int = 4


def _numbered(letter: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{letter}{i}" for i in range(first, last + 1))


# fmt: off
_X86_SETUP = (
    Set("fpcw",  0x037F, "as Linux starts a program: all exceptions masked, 64-bit precision; Unicorn's reset state is 0"),
    Set("fptag", 0xFFFF, "the x87's registers are empty; Unicorn's reset state is 0, all are in use"),
    Set("mxcsr", 0x1F80, "all exceptions masked; Unicorn's reset state is 0"),
)
_X86_EXCEPTIONS = {
    0:  (FPE,  "division by zero or overflow"),
    1:  (TRAP, "single step"),
    3:  (TRAP, "breakpoint"),
    4:  (SEGV, "overflow (into)"),
    5:  (SEGV, "out of bounds (bound)"),
    6:  (ILL,  "illegal instruction"),
    13: (SEGV, "general protection: not for user programs"),
    16: (FPE,  "floating-point exception"),
    17: (BUS,  "alignment"),
    19: (FPE,  "SIMD floating-point exception"),
}
_ARM_EXCEPTIONS = {
    1: (ILL,  "illegal instruction"),
    3: (SEGV, "instruction fetch"),
    4: (SEGV, "data access"),
    7: (TRAP, "breakpoint"),
}


def _mips(name: str, bits: int, mode: str, model: str, arguments: tuple[str, ...], status: int) -> Cpu:
    """n64 has eight registers for arguments, of which Unicorn calls the last four t0 to t3; o32 has four."""
    return Cpu(name, bits, "<", ("UC_ARCH_MIPS", mode, "UC_MODE_LITTLE_ENDIAN"), "pc", "sp", "ra", "v0", arguments,
        ("v0", "v1", *_numbered("a", 0, 3), *_numbered("t", 0, 9), *_numbered("s", 0, 8), "at", "gp", "sp", "ra", "pc"),
        Entry(17, "v0", arguments[:6], "v0", error="a3", stack=16 if bits == 32 else 0),
        bytes(4), bytes.fromhex("0c000000"),
        {12: (SEGV, "load"), 13: (SEGV, "store"), 15: (SEGV, "instruction fetch"), 18: (TRAP, "breakpoint"), 20: (ILL, "illegal instruction"),
         21: (ILL, "coprocessor that is not there"), 22: (FPE, "integer overflow"), 23: (FPE, "trap"), 26: (FPE, "floating-point exception")},
        (Set("cp0_status", status, "CU1 and, n64, FR: the floating-point unit is on; ERL: addresses below 2 GiB are not translated"),),
        area=16 if bits == 32 else 0, eager=True, model=model, space=1 << 31, tls="cp0_userlocal", callee="t9", begins=True)


CPUS = {cpu.name: cpu for cpu in (
    Cpu("i386", 32, "<", ("UC_ARCH_X86", "UC_MODE_32"), "eip", "esp", "", "eax", (),
        ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "eip", "eflags"),
        Entry(0x80, "eax", ("ebx", "ecx", "edx", "esi", "edi", "ebp"), "eax"),
        b"\x90", bytes.fromhex("cd80"), _X86_EXCEPTIONS, _X86_SETUP, call_size=2),
    Cpu("x86_64", 64, "<", ("UC_ARCH_X86", "UC_MODE_64"), "rip", "rsp", "", "rax",
        ("rdi", "rsi", "rdx", "rcx", "r8", "r9"),
        ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *_numbered("r", 8, 15), "rip", "eflags"),
        Entry(None, "rax", ("rdi", "rsi", "rdx", "r10", "r8", "r9"), "rax"),
        b"\x90", bytes.fromhex("cd80"), _X86_EXCEPTIONS, _X86_SETUP, tls="fs_base", call_size=2),
    Cpu("arm", 32, "<", ("UC_ARCH_ARM", "UC_MODE_ARM"), "pc", "sp", "lr", "r0", _numbered("r", 0, 3),
        (*_numbered("r", 0, 12), "sp", "lr", "pc", "cpsr"),
        Entry(2, "r7", _numbered("r", 0, 5), "r0"),
        bytes.fromhex("00f020e3"), bytes.fromhex("000000ef"), _ARM_EXCEPTIONS,
        (Set("c1_c0_2", 0xF << 20, "CPACR: coprocessors 10 and 11, the floating-point unit, for everybody", keep=True),
         Set("fpexc", 1 << 30, "EN: the floating-point unit is on")),
        tls="c13_c0_3"),
    Cpu("aarch64", 64, "<", ("UC_ARCH_ARM64", "UC_MODE_ARM"), "pc", "sp", "x30", "x0", _numbered("x", 0, 7),
        (*_numbered("x", 0, 30), "sp", "pc", "nzcv"),
        Entry(2, "x8", _numbered("x", 0, 5), "x0"),
        bytes.fromhex("1f2003d5"), bytes.fromhex("010000d4"), _ARM_EXCEPTIONS,
        (Set("cpacr_el1", 3 << 20, "FPEN: floating point and SIMD do not trap"),),
        tls="tpidr_el0"),
    Cpu("riscv64", 64, "<", ("UC_ARCH_RISCV", "UC_MODE_RISCV64"), "pc", "sp", "ra", "a0", _numbered("a", 0, 7),
        ("ra", "sp", "gp", "tp", *_numbered("t", 0, 6), *_numbered("s", 0, 11), *_numbered("a", 0, 7), "pc"),
        Entry(8, "a7", _numbered("a", 0, 5), "a0"),
        bytes.fromhex("13000000"), bytes.fromhex("73000000"),
        {0: (BUS, "misaligned instruction"), 1: (SEGV, "instruction fetch"), 2: (ILL, "illegal instruction"), 3: (TRAP, "breakpoint"),
         4: (BUS, "misaligned load"), 5: (SEGV, "load"), 6: (BUS, "misaligned store"), 7: (SEGV, "store")},
        (Set("mstatus", 0x6000, "FS: the floating-point unit is on", keep=True),),
        breaks=(bytes.fromhex("73001000"), bytes.fromhex("0290")), tls="tp"),
    Cpu("s390x", 64, ">", ("UC_ARCH_S390X", "UC_MODE_BIG_ENDIAN"), "pc", "r15", "r14", "r2", _numbered("r", 2, 6),
        (*_numbered("r", 0, 15), "pc", "pswm"),
        Entry(2, "r1", _numbered("r", 2, 7), "r2", advance=2, immediate=True),
        bytes.fromhex("0707"), bytes.fromhex("0a00"),
        {3: (SEGV, "program check: an address that is not there, or not for this")},
        (Set("pswm", 0x1_8000_0000, "EA and BA: 64-bit addresses, else they have 24 bits"),),
        Boot(Stub("eb 00 11 00 00 2f  lctlg 0,0,0x100(%r1)"), "r1", (0x60000).to_bytes(8, "big"),
             "control register 0, bits 45 and 46: floating-point and vector registers; Unicorn has no name for it",
             Set("pswm", 1 << 48, "P: the problem state, for what only a kernel may do ends Unicorn itself (quirks)", keep=True)),
        area=160, illegal=b"\0", remaps=True, eager=True, call_size=2),
    _mips("mips64el", 64, "UC_MODE_MIPS64", "UC_CPU_MIPS64_MIPS64R2_GENERIC", _numbered("a", 0, 3) + _numbered("t", 0, 3), 0x2440_0004),
    _mips("mipsel", 32, "UC_MODE_MIPS32", "UC_CPU_MIPS32_24KF", _numbered("a", 0, 3), 0x2040_0004),
)}
# fmt: on


def cpu_named(name: str) -> Cpu:
    """The CPU of that name, as ``rtld.arch`` has it. Unsupported for one that cannot be emulated."""
    if name not in CPUS:
        from rtld.backends.emulated.quirks import NOT_EMULATED

        reason = NOT_EMULATED.get(name, f"known are {', '.join(CPUS)}")
        raise Unsupported(f"no emulated CPU {name}", reason)
    return CPUS[name]

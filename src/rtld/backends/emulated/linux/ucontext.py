"""What a signal handler finds on its stack: siginfo, and the registers it has interrupted as a ucontext (arch/*/kernel/signal.c).

A frame is data: where the structures stand above the stack pointer, which register is where in the ucontext. What a handler
changes there is what the program goes on with. Floating-point and vector registers are in ``fpcontext``.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rtld.arch.base import Stub

SI_USER, SI_QUEUE, SI_TIMER, SI_TKILL, SI_KERNEL = 0, -1, -2, -6, 0x80
SIGCHLD = 17
FAULTS = frozenset({4, 5, 7, 8, 11})  # ILL, TRAP, BUS, FPE, SEGV


class Signal(NamedTuple):
    """A signal on its way.

    code   SI_*, or of a fault or SIGCHLD its own
    pid    who has sent it; of a child, which; of SI_TIMER the timer's number
    value  of sigqueue and timers;  extra: a child's status, a timer's overruns
    """

    number: int
    code: int = 0
    pid: int = 0
    uid: int = 0
    value: int = 0
    extra: int = 0


class Frame(NamedTuple):
    """One CPU's frame. Offsets of ``info`` and ``user`` count from the stack pointer at the handler's first instruction.

    size       bytes of the whole;  bias: the pointer is that much less than a multiple of 16
    stack      offset in the ucontext of uc_stack, -1 for none;  mask: of uc_sigmask;  high: of its second half, if it is elsewhere
    registers  name -> offset in the ucontext
    fault      offset of the address of a fault, -1 for none
    fpstate    offset of a pointer to floating-point registers, -1 for none
    code       instructions that call rt_sigreturn: unwinders know a frame by them
    words      bytes of each register
    """

    info: int
    user: int
    size: int
    mask: int
    registers: dict[str, int]
    code: Stub
    stack: int = 16
    fault: int = -1
    fpstate: int = -1
    bias: int = 0
    words: int = 8
    high: int = -1


def _row(names: str, start: int, step: int = 8) -> dict[str, int]:
    return {name: start + step * i for i, name in enumerate(names.split()) if name != "-"}


def _numbered(letter: str, count: int) -> str:
    return " ".join(f"{letter}{i}" for i in range(count))


#: MIPS's registers in their order, as Unicorn calls them.
_MIPS = (
    "- at v0 v1 a0 a1 a2 a3 t0 t1 t2 t3 t4 t5 t6 t7 s0 s1 s2 s3 s4 s5 s6 s7 t8 t9 k0 k1 gp sp s8 ra"
)


# fmt: off
FRAMES = {
    # pretcode, ucontext, siginfo
    "x86_64": Frame(312, 8, 312 + 128, 296,
        _row("r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags", 40),
        Stub("48 c7 c0 0f 00 00 00  mov $15, %rax\n 0f 05  syscall"), fault=216, fpstate=224, bias=8),
    # pretcode, number, two pointers, siginfo, ucontext
    "i386": Frame(16, 16 + 128, 16 + 128 + 116 + 8, 108,
        _row("edi esi ebp esp ebx edx ecx eax", 36, 4) | {"eip": 76, "eflags": 84},
        Stub("b8 ad 00 00 00  mov $173, %eax\n cd 80  int $0x80"), stack=8, fault=104, fpstate=96, bias=4, words=4),
    # siginfo, ucontext; registers for coprocessors behind them
    "arm": Frame(0, 128, 128 + 744, 104,
        _row(_numbered("r", 13) + " sp lr pc cpsr", 32, 4),
        Stub("ad 70 a0 e3  mov r7, #173\n 00 00 00 ef  svc 0"), stack=8, fault=100, words=4),
    "aarch64": Frame(0, 128, 128 + 4560, 40,
        _row(_numbered("x", 31) + " sp pc pstate", 184),
        Stub("68 11 80 d2  mov x8, #139\n 01 00 00 d4  svc 0"), fault=176),
    "riscv64": Frame(0, 128, 128 + 176 + 256 + 528, 40,
        _row("pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6", 176),
        Stub("93 08 b0 08  li a7, 139\n 73 00 00 00  ecall")),
    # room for the callee, the call's instruction, siginfo, ucontext
    "s390x": Frame(168, 168 + 128, 168 + 128 + 1024, 384,
        {"pswm": 40, "pc": 48} | _row(_numbered("r", 16), 56),
        Stub("0a ad  svc 173")),
    # six words for nobody, siginfo, ucontext; o32 has registers of 64 bits, too
    "mips64el": Frame(24, 152, 152 + 656, 640,
        _row(_MIPS, 40) | {"pc": 616}, Stub("5b 14 02 24  li $2, 5211\n 0c 00 00 00  syscall")),
    "mipsel": Frame(24, 152, 152 + 632, 616,
        _row(_MIPS, 40) | {"pc": 32}, Stub("61 10 02 24  li $2, 4193\n 0c 00 00 00  syscall"), stack=8),
}
#: Without SA_SIGINFO two CPUs have an older frame: a sigcontext, which stands where it would in a ucontext; no siginfo.
OLD = {
    # pretcode, number, sigcontext, room for floating point, the mask's second half
    "i386": Frame(-1, 8 - 20, 732, 100, FRAMES["i386"].registers,
        Stub("58  pop %eax\n b8 77 00 00 00  mov $119, %eax\n cd 80  int $0x80"), stack=-1, fault=104, fpstate=96, bias=4,
        words=4, high=720 + 12),
    "arm": Frame(-1, 0, 744 + 16, 104, FRAMES["arm"].registers,
        Stub("77 70 a0 e3  mov r7, #119\n 00 00 00 ef  svc 0"), stack=8, fault=100, words=4),
}
#: Registers that Unicorn has under another name, or not as a whole.
SPECIAL = {"aarch64": {"pstate": "nzcv"}}
#: Bits of a register that a handler may change; the rest is the kernel's.
CHANGEABLE = {
    "eflags": 0x240DD5,              # carry, parity, adjust, zero, sign, trap, direction, overflow, alignment, identification
    "cpsr": 0xF80F0220,              # conditions, saturation, GE, byte order, Thumb
    "pstate": 0xF0000000,            # conditions
    "pswm": 0x0000_3F00_0000_0000,   # condition code, program mask
}
# fmt: on
#: What the rest of such a register shows.
SHOWN = {"pswm": 0x0705_0000_0000_0000}


def pack_info(signal: Signal, order: str, bits: int) -> bytes:
    """siginfo_t (<asm-generic/siginfo.h>): 128 bytes; the union stands at a multiple of a word."""
    number, code, pid, uid, value, extra = signal
    long, word = ("Q", "4x") if bits == 64 else ("I", "")
    head = struct.pack(f"{order}iii{word}", number, 0, code)
    mask = (1 << bits) - 1
    if code == SI_TIMER:
        rest = struct.pack(f"{order}ii{long}", pid, extra, value & mask)
    elif number in FAULTS and code > 0:
        rest = struct.pack(f"{order}{long}", value & mask)
    elif number == SIGCHLD and code > 0:
        rest = struct.pack(f"{order}iIi", pid, uid, extra)
    else:
        rest = struct.pack(f"{order}iI{long}", pid, uid, value & mask)
    return (head + rest).ljust(128, b"\0")


def unpack_info(data: bytes, order: str, bits: int) -> Signal:
    """What sigqueue gives: number, code, sender, value."""
    long, word = ("Q", "4x") if bits == 64 else ("I", "")
    number, _errno, code, pid, uid, value = struct.unpack_from(f"{order}iii{word}iI{long}", data)
    return Signal(number, code, pid, uid, value)

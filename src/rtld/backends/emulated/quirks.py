"""What is odd about Unicorn 2.1.4, in one place: what happens, where upstream knows of it, what is done about it here.

Look here first when Unicorn is updated: a row whose issue is closed can go, with what it names. Numbers are of
https://github.com/unicorn-engine/unicorn/issues; "-": not reported.
"""

from __future__ import annotations

from typing import NamedTuple

VERSION = "2.1.4"


class Quirk(NamedTuple):
    """One row."""

    cpus: str
    what: str
    upstream: str
    remedy: str


# fmt: off
QUIRKS = (
    Quirk("all",    "code that was translated still runs after the host has changed it",        "#1148, PR #2271", "memory.Memory.changed drops the translation"),
    Quirk("all",    "a region of mem_map is copied when a page of it gets other rights",        "-",               "memory.Memory maps its own memory with mem_map_ptr"),
    Quirk("all",    "the 65th emu_start inside one another fails, the next one crashes",        "-",               "machine.DEPTH"),
    Quirk("all",    "with a timeout, emu_start starts a thread: 0.16 ms more",                   "-",               "watch.Watch stops it from a thread"),
    Quirk("all",    "the block of code that ends where emu_start is to stop is translated again at each start", "-", "calls.Caller: a short block ends there"),
    Quirk("all",    "emu_stop of another thread leaves the program counter at an earlier block", "-",           "brake.Brake: the CPU stops itself at a block's beginning"),
    Quirk("all",    "a hook for instructions keeps the program counter from being restored",     "-",           "traps are exceptions: cpus: Cpu.trap"),
    Quirk("all",    "after a hook for a forbidden write has changed memory, the write goes anywhere", "-",         "memory.Memory.fault: only when the CPU stands still"),
    Quirk("all",    "a count of instructions makes everything slow",                            "-",               "only where there is a limit"),
    Quirk("all",    "guests run in the privileged state: what only a kernel may do is done",     "-",               "none: it reaches the emulated CPU, and nothing else; but s390x"),
    Quirk("all",    "what a translator does not give back of its 512 temporaries is missing until the block ends, and then memory is overwritten: after some 360 instructions on MIPS, 310 to 470 of the x87 unit's", "-", "repairs: shorter blocks"),
    Quirk("x86",    "unmasked SSE exceptions are not raised (as in QEMU)",                      "-",               "none"),
    Quirk("x86",    "FPCW and MXCSR are 0 after a reset: other rounding, exceptions not masked", "-",              "cpus: setup"),
    Quirk("x86",    "an exception that a hook was told of stays in flight: the second division by zero is a double fault, the third stops the CPU", "-", "engine.Engine.exception_over"),
    Quirk("x86-64", "after emu_stop in the hook of syscall, the program counter is still on it", "-",              "watch.Watch never stops in a hook"),
    Quirk("x86",    "LOCK before BT, BTS, BTR or BTC of a register: its code generator calls abort()", "-", "aborts: the run ends, as at an illegal instruction"),
    Quirk("arm",    "the state (ARM or Thumb) is lost unless bit 0 of the start address has it", "-",              "engine.Engine.resume_at"),
    Quirk("riscv64", "a breakpoint is reported as an illegal instruction",                     "-",               "cpus: Cpu.breaks"),
    Quirk("s390x",  "after SVC the program counter is still on it",                             "-",               "cpus: Entry.advance"),
    Quirk("s390x",  "if a hook wrote the program counter, a later emu_stop leaves an old one",   "-",               "libunicorn.Uc.reg_write: uc_reg_write_batch does not do that"),
    Quirk("s390x",  "bad addresses are a program check, and the hook for them is not called",   "-",               "reached.operands reads the instruction"),
    Quirk("s390x",  "an illegal instruction is the same program check",                         "-",               "cpus: Cpu.illegal"),
    Quirk("s390x",  "code cannot run where mem_protect took the right to write",                "-",               "cpus: Cpu.remaps; engine.Engine.protect maps again"),
    Quirk("s390x",  "SQXBR (square root of a long double) ends this process: a segmentation fault", "-",           "repairs: a pointer in the table of instructions"),
    Quirk("s390x",  "what only a kernel may do, STFL and SCK, ends this process",               "-",               "cpus: Boot.last: the problem state"),
    Quirk("mips",   "a hook that is called in a delay slot makes the branch target an illegal instruction", "#2272, PR #2347", "cpus: Cpu.eager: pages come when they are mapped, so that nothing faults there"),
    Quirk("mips",   "a run that is broken off in a delay slot loses the branch",                 "#1411",           "brake.Brake stops at a block's beginning only"),
    Quirk("mips",   "after a translation that ended with a bad instruction fetch the next one may crash the process", "-", "engine.Engine._settle: a translation that comes to its end"),
    Quirk("mips",   "a hook for memory crashes it",                                             "#2134",           "there is none"),
    Quirk("mips64el", "the default model has no 64-bit floating point: R4000",                  "#2109",           "cpus: Cpu.model"),
    Quirk("mips64el", "addresses from 2 GiB on are refused: ERL cannot be left",                "#2109",           "cpus: Cpu.space; programs for fixed addresses above: --backend qemu"),
    Quirk("mips64el", "with UC_TLB_VIRTUAL they work, but a bad address crashes the process",   "-",               "it is not used"),
    Quirk("s390x",  "control registers have no name",                                           "-",               "cpus: Boot"),
)

#: CPUs that rtld links for and Unicorn cannot run, or not well enough.
NOT_EMULATED = {
    "ppc64le":     "Unicorn has no little-endian PowerPC (uc_open: UC_ERR_MODE), and stops a 64-bit one at its first instruction "
                   "(UC_ERR_EXCEPTION; #1779); qemu-ppc64le runs its programs",
    "loongarch64": "Unicorn has no LoongArch; qemu-loongarch64 runs its programs",
}
# fmt: on

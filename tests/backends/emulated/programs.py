"""Small static programs for every CPU from one list of steps: assembly, compiled, loaded, and run by somebody who knows.

Program("aarch64").call("write", 1, "text", 6).call("exit", 42).data('text: .ascii "hello\\n"')
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import toolchain
from rtld.backends.emulated.callnumbers import call_names
from rtld.backends.emulated.cpus import CPUS
from rtld.backends.emulated.machine import Machine
from rtld.core.space import page_up
from rtld.elf.file import ElfFile

CC = Callable[..., Path]
RESULT, KEPT = "<result>", "<kept>"
STACK = 1 << 16


class Assembly(NamedTuple):
    """How a CPU says it. {0} is a register that changes, {1} what it gets, or where from."""

    number: str
    address: str
    copy: str
    load: str
    store: str
    add: str
    call: str
    forever: str
    jump: str
    illegal: str
    breakpoint: str
    kept: str  # a register that system calls leave alone
    spare: str
    word: str  # a directive
    mark: str = ""  # before a register's name


# fmt: off
ASSEMBLY = {
    "i386":    Assembly("movl ${1}, {0}", "movl ${1}, {0}", "movl {1}, {0}", "movl ({1}), {0}", "movl {0}, ({1})", "addl ${1}, {0}",
                        "int $0x80", "1: jmp 1b", "jmp *{0}", "ud2", "int3", "edi", "esi", ".long", "%"),
    "x86_64":  Assembly("movq ${1}, {0}", "leaq {1}(%rip), {0}", "movq {1}, {0}", "movq ({1}), {0}", "movq {0}, ({1})", "addq ${1}, {0}",
                        "syscall", "1: jmp 1b", "jmp *{0}", "ud2", "int3", "rbx", "rbp", ".quad", "%"),
    "arm":     Assembly("ldr {0}, ={1}", "ldr {0}, ={1}", "mov {0}, {1}", "ldr {0}, [{1}]", "str {0}, [{1}]", "add {0}, {0}, #{1}",
                        "svc 0", "1: b 1b", "bx {0}", ".inst 0xe7f000f0", "bkpt", "r8", "r9", ".long"),
    "aarch64": Assembly("ldr {0}, ={1}", "ldr {0}, ={1}", "mov {0}, {1}", "ldr {0}, [{1}]", "str {0}, [{1}]", "add {0}, {0}, #{1}",
                        "svc 0", "1: b 1b", "br {0}", ".inst 0", "brk #0", "x19", "x20", ".quad"),
    "riscv64": Assembly("li {0}, {1}", "la {0}, {1}", "mv {0}, {1}", "ld {0}, ({1})", "sd {0}, ({1})", "addi {0}, {0}, {1}",
                        "ecall", "1: j 1b", "jr {0}", ".word 0", "ebreak", "s1", "s2", ".quad"),
    "s390x":   Assembly("lgfi {0}, {1}", "larl {0}, {1}", "lgr {0}, {1}", "lg {0}, 0({1})", "stg {0}, 0({1})", "aghi {0}, {1}",
                        "svc 0", "1: j 1b", "br {0}", ".long 0", ".short 1", "r8", "r9", ".quad", "%"),
}
# fmt: on
ALL = tuple(ASSEMBLY)


class Program:
    """Steps, one after the other."""

    def __init__(self, cpu: str) -> None:
        self.cpu = cpu
        self.how = ASSEMBLY[cpu]
        self.entry = CPUS[cpu].entry
        self.numbers = {name: number for number, name in call_names(cpu).items()}
        self.lines = [".text", ".globl _start", "_start:"]
        self.datas: list[str] = []

    def say(self, template: str, register: str = "", value: object = "") -> Program:
        """One instruction."""
        register = self.how.mark + register
        self.lines.append(template.replace("{0}", register).replace("{1}", str(value)))
        return self

    def _give(self, register: str, value: object) -> None:
        if value in (RESULT, KEPT):
            source = self.entry.result if value == RESULT else self.how.kept
            self.say(self.how.copy, register, self.how.mark + source)
        else:
            template = self.how.number if isinstance(value, int) else self.how.address
            self.say(template, register, value)

    def call(self, name: str | int, *arguments: object) -> Program:
        """A system call. RESULT, if any, must be the first argument."""
        for register, value in zip(self.entry.arguments, arguments, strict=False):
            self._give(register, value)
        number = name if isinstance(name, int) else self.numbers[name]
        self._give(self.entry.number, number)
        return self.say(self.how.call)

    def map(self, size: int, rights: int = 3) -> Program:
        """Anonymous memory; its address is kept."""
        arguments = (0, size, rights, 0x22, -1, 0)
        if self.cpu == "s390x":
            label = f"arguments{len(self.datas)}"
            self.data(f".balign 8\n{label}: {self.how.word} {', '.join(map(str, arguments))}")
            self.call("mmap", label)
        else:
            self.call("mmap2" if "mmap2" in self.numbers else "mmap", *arguments)
        return self.keep()

    def keep(self) -> Program:
        self._give(self.how.kept, RESULT)
        return self

    def store(self, value: int, at: object = KEPT) -> Program:
        """A word there."""
        place = self._place(at, self.how.spare)
        spare = self.entry.arguments[2]
        self._give(spare, value)
        return self.say(self.how.store, spare, self.how.mark + place)

    def load(self, at: object = KEPT) -> Program:
        """A word from there is the result."""
        place = self._place(at, self.how.spare)
        return self.say(self.how.load, self.entry.result, self.how.mark + place)

    def _place(self, at: object, spare: str) -> str:
        if at == KEPT:
            return self.how.kept
        self._give(spare, at)
        return spare

    def add(self, value: int) -> Program:
        """To what is kept."""
        return self.say(self.how.add, self.how.kept, value)

    def jump(self, to: int | str) -> Program:
        self._give(self.how.spare, to)
        return self.say(self.how.jump, self.how.spare)

    def data(self, text: str) -> Program:
        self.datas.append(text)
        return self

    def compiled(self, cc: CC, *flags: str) -> Path:
        text = "\n".join([*self.lines, ".ltorg" if "arm" in self.cpu or self.cpu == "aarch64" else "",
                          ".data", *self.datas, '.section .note.GNU-stack,"",%progbits', ""])  # fmt: skip
        options = ("-xassembler", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none")
        return cc(text, "program", *options, *flags, arch=self.cpu)


def load(machine: Machine, path: Path, base: int = 0) -> int:
    """Put a program into the machine, as it is in the file; its entry."""
    file = ElfFile(str(path))
    low, high = file.span
    machine.reserve(page_up(high) - low, 0x1000, base + low)
    pieces = []
    for segment in file.loads:
        start = (base + segment.vaddr) & -0x1000
        size = page_up(base + segment.vaddr + segment.memsz) - start
        flags = segment.flags
        pieces.append((start, size, flags >> 2 & 1 | flags & 2 | (flags & 1) << 2))
        machine.protect(start, size, 3)
        data = file.data[segment.offset : segment.offset + segment.filesz]
        machine.write(base + segment.vaddr, bytes(data))
    for piece in pieces:
        machine.protect(*piece)
    return base + int(file.entry)


class Outcome(NamedTuple):
    output: bytes
    status: int  # as a shell says it


@contextmanager
def pipes(given: bytes) -> Iterator[tuple[dict[int, int], Callable[[], bytes]]]:
    """Descriptors for a guest, and what it has written."""
    reading, feed = os.pipe()
    os.write(feed, given)
    os.close(feed)
    out = os.memfd_create("output")
    try:
        yield {0: reading, 1: out, 2: out}, lambda: os.pread(out, 1 << 20, 0)
    finally:
        os.close(reading)
        os.close(out)


def emulated(machine: Machine, path: Path, given: bytes = b"") -> Outcome:
    """Run it here. Faults are raised."""
    with pipes(given) as (descriptors, written):
        machine.kernel.descriptors = descriptors
        entry = load(machine, path)
        stack = machine.memory.reserve(STACK, high=True)
        machine.protect(stack, STACK, 3)
        status = machine.start(entry, stack + STACK - 256)
        return Outcome(written(), status)


def judged(cpu: str, path: Path, given: bytes = b"") -> Outcome:
    """Run it by qemu-user, or by the kernel."""
    command, env = toolchain.command(toolchain.target(cpu), [str(path)], {})
    done = subprocess.run(
        command, env=env, input=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=60
    )  # fmt: skip
    status = done.returncode
    return Outcome(done.stdout, 128 - status if status < 0 else status)

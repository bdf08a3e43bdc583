"""The back end itself: calls both ways, lazy binding, memory, limits, Ctrl-C, what a guest cannot reach."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import toolchain
from backends.emulated.programs import ALL, CC, KEPT, RESULT, Program, emulated, load, pipes
from rtld.arch import by_name
from rtld.backends.emulated import open_machine
from rtld.backends.emulated.faults import Fault, LimitReached
from rtld.backends.emulated.machine import DEPTH, TRAP, TRAPS, Machine
from rtld.core.image import Image
from rtld.elf.file import ElfFile
from rtld.elf.types import DT_JMPREL, DT_PLTGOT
from rtld.errors import NoSpace, TargetFault, Unsupported

FUNCTIONS = """
long sum(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j)
{
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
long negative(long a) { return -a; }
long apply(long (*f)(long, long, long, long, long, long, long, long), long n)
{
    return f(n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7) + n;
}
double halves(double x) { return x / 2; }
long rounded(long n) { return (long) (halves(n) * 10); }
void _start(void) { for (;;) ; }
"""
FLAGS = ("-O1", "-nostdlib", "-static", "-no-pie", "-fno-pie", "-ffreestanding", "-fno-stack-protector")  # fmt: skip


@pytest.fixture(params=ALL)
def cpu(request: pytest.FixtureRequest, require: Callable[[str], None]) -> str:
    name: str = request.param
    lacking = toolchain.missing(toolchain.target(name))
    if lacking:
        require(lacking)
    return name


@pytest.fixture
def machine(cpu: str) -> Iterator[Machine]:
    with open_machine(cpu, seconds=20) as machine:
        yield machine


def symbols(path: Path) -> dict[str, int]:
    """Name -> address, from .symtab, as nm has them."""
    import subprocess

    text = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines()]
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3}


@pytest.fixture
def functions(machine: Machine, cc: CC) -> dict[str, int]:
    # Without start-up code the global pointer of RISC-V is not set; the linker may not rely on it.
    extra = ("-Wl,--no-relax",) if machine.cpu.name == "riscv64" else ()
    path = cc(FUNCTIONS, "functions", *FLAGS, *extra, arch=machine.cpu.name)
    load(machine, path)
    return symbols(path)


# -- calls ------------------------------------------------------------------------------------------


def test_arguments_and_results(machine: Machine, functions: dict[str, int]) -> None:
    assert machine.call(functions["sum"], *range(10, 20)) == sum(
        (i + 1) * (10 + i) for i in range(10)
    )
    assert machine.call(functions["negative"], 5) == (1 << machine.cpu.bits) - 5
    assert machine.call(functions["negative"], -7) == 7


def test_floating_point_is_on(machine: Machine, functions: dict[str, int]) -> None:
    assert machine.call(functions["rounded"], 7) == 35


def test_python_is_called_and_calls(machine: Machine, functions: dict[str, int]) -> None:
    seen = []

    def handler(*values: int) -> int:
        seen.append(values)
        return machine.call(functions["sum"], *values, 0, 0) + machine.call(
            functions["negative"], values[0]
        )

    address = machine.function(handler, 8)
    result = machine.call(functions["apply"], address, 100)
    assert seen == [tuple(range(100, 108))]
    assert result == sum((i + 1) * (100 + i) for i in range(8))


def test_calls_inside_one_another_have_an_end(machine: Machine, functions: dict[str, int]) -> None:
    depth = 0

    def handler(n: int) -> int:
        nonlocal depth
        depth += 1
        return machine.call(functions["apply"], address, n)

    address = machine.function(handler, 1)
    with pytest.raises(TargetFault, match=f"more than {DEPTH} calls"):
        machine.call(functions["apply"], address, 1)
    assert depth == DEPTH
    assert machine.call(functions["negative"], -1) == 1  # and nothing is broken


def test_what_a_handler_raises_comes_out(machine: Machine, functions: dict[str, int]) -> None:
    def handler(_: int) -> int:
        raise LookupError("of the handler")

    with pytest.raises(LookupError, match="of the handler"):
        machine.call(functions["apply"], machine.function(handler, 1), 1)
    assert machine.call(functions["negative"], -1) == 1


def test_a_function_that_exits(cpu: str, machine: Machine, cc: CC) -> None:
    entry = load(machine, Program(cpu).call("exit", 3).compiled(cc))
    with pytest.raises(TargetFault, match=r"the function called exit\(3\)"):
        machine.call(entry)


def test_addresses_of_traps_that_nobody_has(machine: Machine) -> None:
    last = machine.function(lambda: 0, 0) + TRAP
    with pytest.raises(Fault, match="middle of nowhere"):
        machine.call(last)
    with pytest.raises(Fault, match="middle of nowhere"):
        machine.start(machine._never, 0x10000)  # where a program is thought not to come
    for _ in range(TRAPS // TRAP - 3):
        machine.trap(lambda: 0)
    with pytest.raises(NoSpace, match="no more than"):
        machine.trap(lambda: 0)


# -- lazy binding -----------------------------------------------------------------------------------

LAZY = """
extern long first(long, long, long), second(long, long, long);
long use(long n) { return first(n, 2, 3) + 10 * second(n, 5, 6) + 100 * first(7, 8, 9); }
"""


def test_a_lazy_plt_comes_to_the_binder(cpu: str, machine: Machine, cc: CC) -> None:
    """With a real PLT of binutils; the test is the dynamic linker."""
    flags = ("-O1", "-nostdlib", "-shared", "-fPIC", "-Wl,-z,lazy", "-fno-stack-protector", "-fplt")
    path = cc(LAZY, "liblazy.so", *flags, arch=cpu)
    arch = by_name(cpu)
    base = 0x200000
    load(machine, path, base)
    file = ElfFile(str(path))
    assert file.dynamic is not None
    got, records = (base + (file.dynamic.get(tag) or 0) for tag in (DT_PLTGOT, DT_JMPREL))
    width = machine.cpu.bits // 8

    def put(address: int, value: int) -> None:
        machine.write(
            address, struct.pack(f"{machine.cpu.order}{'Q' if width == 8 else 'I'}", value)
        )

    slots = [base + machine.word(records + (24 if width == 8 else 8) * i) for i in range(2)]
    for slot in slots:
        put(slot, machine.word(slot) + base)
    bound: list[int] = []
    called: list[tuple[int, tuple[int, ...]]] = []

    def function(index: int) -> int:
        def handler(*values: int) -> int:
            called.append((index, values))
            return index + 1

        return machine.function(handler, 3)

    targets = [function(0), function(1)]

    def bind(module: int, index: int) -> int:
        assert module == 0x1234560
        bound.append(index)
        put(slots[index], targets[index])
        return targets[index]

    resolver = machine.on_bind(bind)
    put(got + width * arch.got.link_map, 0x1234560)
    put(got + width * arch.got.resolver, resolver)
    result = machine.call(base + symbols(path)["use"], 1)
    first, second = bound
    assert called == [(first, (1, 2, 3)), (second, (1, 5, 6)), (first, (7, 8, 9))]
    assert result == (first + 1) + 10 * (second + 1) + 100 * (first + 1)


# -- memory -----------------------------------------------------------------------------------------


def test_what_the_host_writes_is_what_runs(cpu: str, machine: Machine, cc: CC) -> None:
    """Code that has run, and is changed by the host, runs changed: the translation is dropped."""
    one, two = (
        cc(f"long f(void) {{ return {n}; }}", "f", *FLAGS, "-Wl,-e,f", arch=cpu) for n in (11, 22)
    )
    entry = load(machine, one)
    file = ElfFile(str(two))
    segment = next(s for s in file.loads if s.vaddr <= entry < s.vaddr + s.filesz)
    assert machine.call(entry) == 11
    start = entry & -2  # bit 0 says Thumb
    offset = segment.offset + start - segment.vaddr
    machine.write(start, bytes(file.data[offset : segment.offset + segment.filesz]))
    assert machine.call(entry) == 22


@pytest.mark.parametrize("way", ["read", "fixed", "unmapped"])
@pytest.mark.parametrize("inside", [False, True], ids=["between runs", "while it runs"])
def test_what_the_kernel_changes_is_what_runs(
    inside: bool, way: str, cpu: str, machine: Machine, functions: dict[str, int], cc: CC
) -> None:
    """Code read over code that has run; other memory at its address."""
    bodies = []
    for n in (11, 22):
        path = cc(f"long f(void) {{ return {n}; }}", "f", *FLAGS, "-Wl,-e,f", arch=cpu)
        file = ElfFile(str(path))
        start = file.entry & -2
        segment = next(s for s in file.loads if s.vaddr <= start < s.vaddr + s.filesz)
        offset = segment.offset + start - segment.vaddr
        bodies.append(bytes(file.data[offset : segment.offset + segment.filesz]))
    thumb = file.entry & 1
    kernel = machine.kernel
    code = kernel.sys_mmap(0, 0x1000, 7, 0x22, 0, 0)
    machine.write(code, bodies[0])

    def change(*_: int) -> int:
        before = machine.call(code | thumb)
        if way == "read":
            with pipes(bodies[1]) as (kernel.descriptors, _written):
                assert kernel.sys_read(0, code, len(bodies[1])) == len(bodies[1])
        else:
            if way == "unmapped":
                assert kernel.sys_munmap(code, 0x1000) == 0
            assert kernel.sys_mmap(code, 0x1000, 7, 0x32, 0, 0) == code
            assert machine.read(code, 0x1000) == bytes(0x1000)
            machine.write(code, bodies[1])
        return before + 100 * machine.call(code | thumb)

    if inside:
        assert machine.call(functions["apply"], machine.function(change, 8), 0) == 2211
    else:
        assert change() == 2211


def test_code_across_pages_is_translated_again() -> None:
    with open_machine("x86_64") as machine:
        machine.protect(0x10000, 0x3000, 7)
        machine.write(0x10000, b"\x90" * 0x1FF0 + b"\xb8\x01\x00\x00\x00\xc3")
        assert machine.call(0x10000) == 1
        # mov $2, %eax; ret: from one page into the next
        machine.write(0x10FFE, b"\xb8\x02\x00\x00\x00\xc3")
        assert machine.call(0x10000) == 2


def test_images_are_committed_and_protected(machine: Machine) -> None:
    base = machine.reserve(0x3000, 0x1000)
    image = Image(np.arange(0x1800, dtype=np.uint32).view(np.uint8)[:0x1800], 0x100, base, 0, ())
    machine.commit(image)
    assert machine.read(base + 0x100, 0x1800) == image.bytes.tobytes()
    assert machine.read(base, 0x100) == bytes(0x100)
    with pytest.raises(TargetFault):
        machine.read(base + 0x2000, 1)
    machine.protect(base, 0x1000, 0)
    with pytest.raises(Fault) as caught:
        machine.call(base + 0x200)
    assert caught.value.signal == signal.SIGSEGV


def test_addresses(machine: Machine) -> None:
    at = machine.reserve(0x1000, 0x10000)
    assert at == 0x10000
    assert machine.reserve(0x1000, 0x1000) == 0x1000
    assert machine.reserve(0x2000, 0x1000, 0x12000) == 0x12000
    with pytest.raises(
        NoSpace, match="0x13000 to 0x15000 is not free: 0x13000 to 0x14000 is taken"
    ):
        machine.reserve(0x2000, 0x1000, 0x13000)
    with pytest.raises(NoSpace, match="0x0 is not for programs"):
        machine.reserve(0x2000, 0x1000, 0)
    with pytest.raises(NoSpace, match="no 0x"):
        machine.reserve(machine.memory.size, 0x1000)
    low = machine.reserve(0x10, 0x1000)
    assert low % 0x1000 == 0


def test_memory_has_a_limit(cpu: str, cc: CC) -> None:
    with open_machine(cpu, memory=1 << 20) as machine:
        path = Program(cpu).map(1 << 21).call("exit", KEPT).compiled(cc)
        assert emulated(machine, path).status == 256 - 12  # ENOMEM


def test_a_machine_can_be_made_many_times(cpu: str) -> None:
    for _ in range(5):
        with open_machine(cpu) as machine:
            start = machine.reserve(0x1000, 0x1000)
            machine.protect(start, 0x1000, 3)
            assert machine.read(start, 4) == bytes(4)


def test_a_closed_machine_says_so(cpu: str) -> None:
    with open_machine(cpu) as machine:
        start = machine.reserve(0x1000, 0x1000)
        machine.protect(start, 0x1000, 7)
    with pytest.raises(TargetFault, match="has been closed"):
        machine.call(start)
    with pytest.raises(TargetFault, match="has been closed"):
        machine.start(start, 0)
    with pytest.raises(TargetFault):
        machine.read(start, 1)
    with pytest.raises(TargetFault):
        machine.write(start, b"x")
    machine.close()


def test_unknown_cpus() -> None:
    with pytest.raises(Unsupported, match="no emulated CPU pdp11; known are i386, x86_64"):
        open_machine("pdp11")
    with pytest.raises(Unsupported, match="qemu-ppc64le runs its programs"):
        open_machine("ppc64le")


# -- limits -----------------------------------------------------------------------------------------


def endless(machine: Machine, cc: CC) -> tuple[int, int]:
    """Entry and stack of a program without end."""
    program = Program(machine.cpu.name)
    entry = load(machine, program.say(program.how.forever).compiled(cc))
    stack = machine.memory.reserve(0x10000, high=True)
    machine.protect(stack, 0x10000, 3)
    return entry, stack + 0xFF00


def test_time_is_limited(cpu: str, cc: CC) -> None:
    with open_machine(cpu, seconds=0.2) as machine:
        begin = time.monotonic()
        with pytest.raises(LimitReached, match=r"0\.2 seconds are over") as caught:
            machine.start(*endless(machine, cc))
        assert 0.15 < time.monotonic() - begin < 5
        assert caught.value.pc


@pytest.mark.parametrize("end", ["time", "Ctrl-C"])
def test_waiting_for_input_ends(end: str, cpu: str, cc: CC) -> None:
    inside, outside = os.pipe()
    program = Program(cpu).call("read", 0, "room", 8).call("exit", RESULT).data("room: .zero 8")
    limit = 0.2 if end == "time" else None
    with open_machine(cpu, seconds=limit, descriptors={0: inside}) as machine:
        entry = load(machine, program.compiled(cc))
        timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
        if end == "Ctrl-C":
            timer.start()
        with pytest.raises(LimitReached if end == "time" else KeyboardInterrupt):
            machine.start(entry, 0)
        os.write(outside, b"input")
        assert machine.start(entry, 0) == 5
    os.close(inside)
    os.close(outside)


def test_instructions_are_limited(cpu: str, cc: CC) -> None:
    with (
        open_machine(cpu, instructions=3_000_000) as machine,
        pytest.raises(LimitReached, match="3000000 instructions have run"),
    ):
        machine.start(*endless(machine, cc))


def test_what_ends_in_time_is_not_disturbed(cpu: str, cc: CC) -> None:
    with open_machine(cpu, instructions=1000) as machine:
        path = Program(cpu).call("exit", 5).compiled(cc)
        assert emulated(machine, path).status == 5


def test_ctrl_c(cpu: str, cc: CC) -> None:
    with open_machine(cpu) as machine:
        entry, sp = endless(machine, cc)
        thread = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            machine.start(entry, sp)
        thread.join()
        machine.seconds = 0.1  # and the machine can go on
        with pytest.raises(LimitReached):
            machine.start(entry, sp)


def test_a_pipe_that_nobody_reads_ends_the_program(cpu: str, machine: Machine, cc: CC) -> None:
    inside, outside = os.pipe()
    os.close(inside)
    program = Program(cpu).call("write", 1, "text", 4).call("exit", 0)
    entry = load(machine, program.data('text: .ascii "text"').compiled(cc))
    machine.kernel.descriptors[1] = outside
    try:
        assert machine.start(entry, 0) == 128 + signal.SIGPIPE
    finally:
        os.close(outside)


def test_no_system_call_is_lost_or_doubled_by_the_watch(
    cpu: str, cc: CC, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU is stopped two thousand times a second, anywhere, while it makes system calls."""
    monkeypatch.setattr("rtld.backends.emulated.watch.TICK", 0.0005)
    source = (
        "extern long get(void); void _start(void) { }"
        "long loop(long n) { long done = 0; for (long i = 0; i < n; i++) done += get() == -38; return done; }"
    )
    number = 9999
    lines = [".globl get", ".type get, %function", "get:"]
    step = Program(cpu).call(number).lines[3:]
    back = {
        "i386": "ret",
        "x86_64": "ret",
        "arm": "bx lr",
        "aarch64": "ret",
        "riscv64": "ret",
        "s390x": "br %r14",
    }
    saved = {"arm": ("push {r7}", "pop {r7}")}.get(cpu, ("", ""))
    text = "\n".join([*lines, saved[0], *step, saved[1], back[cpu]]).replace('"', "")
    body = source + "\n__asm__(" + "\n".join(f'"{line}\\n"' for line in text.splitlines()) + ");"
    with open_machine(cpu, seconds=60) as machine:
        path = cc(body, "calls", *FLAGS, arch=cpu)
        load(machine, path)
        assert machine.call(symbols(path)["loop"], 30_000) == 30_000
        assert machine.kernel.unknown == {f"number {number}": 30_000}


# -- what a guest cannot reach ----------------------------------------------------------------------


def test_no_files(cpu: str, machine: Machine, cc: CC, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    program = Program(cpu).call("openat", -100, "path", 0).keep()
    program.call("read", KEPT, "room", 6).call("write", 1, "room", 6).call("exit", RESULT)
    program.data(f'path: .asciz "{secret}"').data("room: .zero 8")
    outcome = emulated(machine, program.compiled(cc))
    assert outcome == (bytes(6), 6)
    assert machine.kernel.calls["openat"] == 1


def test_no_descriptors_of_the_host(cpu: str, machine: Machine, cc: CC) -> None:
    inside, outside = os.pipe()
    try:
        program = Program(cpu).call("write", outside, "text", 4).call("exit", RESULT)
        path = program.data('text: .ascii "leak"').compiled(cc)
        assert emulated(machine, path).status == 256 - 9  # EBADF
        os.set_blocking(inside, False)
        with pytest.raises(BlockingIOError):
            os.read(inside, 1)
    finally:
        os.close(inside)
        os.close(outside)


def test_no_memory_of_the_host(cpu: str, machine: Machine, cc: CC) -> None:
    secret = np.frombuffer(b"host memory" * 10, np.uint8)
    address = secret.__array_interface__["data"][0] & ((1 << machine.cpu.bits) - 1)
    with pytest.raises(Fault):
        machine.call(address)
    kernel = machine.kernel
    for view in ((address, 8), (machine.memory.size, 8), (machine.memory.size - 4, 8), (-8, 8)):
        with pytest.raises(TargetFault):
            machine.memory.view(*view)
    assert kernel.sys_munmap(machine.memory.size, 0x1000) < 0
    assert kernel.sys_mmap(machine.memory.size - 0x1000, 0x2000, 3, 0x32, 2**64 - 1, 0) < 0
    assert kernel.sys_mmap(1 << 63, 0x1000, 3, 0x32, 2**64 - 1, 0) < 0
    assert kernel.sys_mmap(0, 1 << 62, 3, 0x22, 2**64 - 1, 0) < 0
    with pytest.raises(TargetFault):
        kernel.sys_write(1, 0x1000, 0xFFFFFFFFFFFF)

"""Programs of other CPUs: how long does one take to start, how fast does it run, what does a way to Python and back cost?

    python bench/emulate.py [--qiling PYTHON] [ARCH...]

Next to qemu-user, which is machine code, and to Qiling, which is Python and Unicorn too (*PYTHON*: that of an environment
with the package qiling). Seconds are CPU seconds, medians of 7, and ratios are of the same run; programs are compiled here.

start   ``rtld run`` of a hello world, the whole command; "inside": the same in a process that has imported everything, which
        is what ld.so, libc and the program take. "own ld.so": --interp, where the guest's links. MB: most that was resident; "rtld /": rtld's
        CPU seconds, divided by theirs.
loop    300 million iterations; how many instructions one has is counted by the engine.
trap    the guest jumps to Python and back; "bare": Unicorn calls a function of Python's that does nothing; "system call":
        gettid. calls: of abs() from Python, one by one and by ``map``.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import toolchain  # noqa: E402
from timing import best  # noqa: E402

CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")
HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); }'
COUNT = 300_000_000
STEP = "x = x * 5 ^ i"
LOOP = f"int main(void) {{ unsigned x = 1; for (unsigned i = 0; i < {COUNT}u; i++) {STEP}; return x == 7; }}"
BARE_LOOP = f"unsigned loop(unsigned n) {{ unsigned x = 1; for (unsigned i = 0; i < n; i++) {STEP}; return x; }}"
FLAGS = ("-O2", "-fno-tree-vectorize", "-fno-unroll-loops")
TRAPS = 100_000
QILING = """
import sys
from qiling import Qiling
from qiling.const import QL_VERBOSE
Qiling(sys.argv[2:], "/", verbose=QL_VERBOSE.OFF, env={"LD_LIBRARY_PATH": sys.argv[1]}).run()
"""
INSIDE = """
import os, sys, time
import rtld.process.emulated.guest, rtld.process.emulated.postmortem, rtld.process.foreign.dl
from rtld.backends.emulated import open_machine
from rtld.process.emulated.start import Link, parse_bind, run_emulated
open_machine(sys.argv[1]).close()
begin = time.process_time()
run_emulated(sys.argv[3], sys.argv[3:], {"LD_LIBRARY_PATH": sys.argv[2] + "/lib"}, sysroot=sys.argv[2],
             binds=[f"{sys.argv[2]}:{sys.argv[2]}:ro"], link=Link())
os.write(2, str(time.process_time() - begin).encode())
"""


def compiled(text: str, name: str, want: toolchain.Target, *flags: str) -> Path:
    argv = [
        want.cc,
        *FLAGS,
        *flags,
        f"{name}.c",
        "-o",
        name,
        f"-Wl,--dynamic-linker={want.interp}",
    ]
    return (
        toolchain.compile_all([text, *argv], [toolchain.Step("file", f"{name}.c", text), argv])
        / name
    )


class Spent(NamedTuple):
    """Of a command: CPU and wall seconds, MB that were resident."""

    cpu: float
    wall: float
    mb: float


def spent(
    command: list[str], env: dict[str, str], output: bytes | None = None, times: int = 7
) -> Spent | None:
    """Medians; None if it fails, or does not write that."""
    cpu, wall, mb = [], [], []
    for _ in range(times):
        begin = time.monotonic()
        child = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert child.stdout is not None
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall.append(time.monotonic() - begin)
        if status & 0xFF or child.returncode > 1 or (output is not None and text != output):
            return None
        cpu.append(usage.ru_utime + usage.ru_stime)
        mb.append(usage.ru_maxrss / 1024)
    return Spent(statistics.median(cpu), statistics.median(wall), max(mb))


# -- ways to Python and back --------------------------------------------------------------------------


def trap_cost(arch: str) -> float:
    """Microseconds of one call from the guest to a Python function and back."""
    from rtld.backends.emulated import open_machine

    with open_machine(arch) as machine:
        left = 0
        again = 0

        def handler() -> int:
            nonlocal left
            left -= 1
            return again if left else machine._returned

        def run() -> None:
            nonlocal left
            left = TRAPS
            machine.call(again)

        again = machine.trap(handler)
        return best(run) / TRAPS * 1e6


def _repeated(machine: object, code: bytes, count: int) -> tuple[int, int]:
    """(start, end) of the code, so many times."""
    start = machine.reserve(len(code) * count, 0x1000)  # type: ignore[attr-defined]
    machine.protect(start, (len(code) * count + 0xFFF) & -0x1000, 7)  # type: ignore[attr-defined]
    machine.write(start, code * count)  # type: ignore[attr-defined]
    return start, start + len(code) * count


def call_cost(arch: str, count: int = 2000) -> float:
    """Microseconds of a system call."""
    from rtld.backends.emulated import open_machine
    from rtld.backends.emulated.callnumbers import call_names

    number = next(n for n, name in call_names(arch).items() if name == "gettid")
    with open_machine(arch) as machine:
        cpu = machine.cpu
        code = b"\x0f\x05" if cpu.entry.interrupt is None else cpu.trap
        if cpu.entry.result == cpu.entry.number:
            code = b"\xb8" + number.to_bytes(4, "little") + code  # mov $number, %eax
        elif cpu.entry.immediate:
            code = code[:1] + bytes([number])
        start, end = _repeated(machine, code, count)

        def run() -> None:
            machine.engine.set(cpu.entry.number, number)
            machine._run(start, end)

        cost = best(run, 20) / count * 1e6
        assert machine.kernel.calls == {"gettid": 20 * count}
        return cost


def bare_cost(count: int = 2000) -> float:
    """Microseconds of an exception that a Python function without arguments is called for: what nothing here can be below."""
    from rtld.backends.emulated.libunicorn import Uc, library

    numbers = library().numbers
    uc = Uc(numbers["UC_ARCH_ARM64"], numbers["UC_MODE_ARM"])
    code = bytes.fromhex("010000d4") * count
    memory = mmap.mmap(-1, (len(code) + 0xFFF) & -0x1000)
    memory[: len(code)] = code
    uc.mem_map_ptr(0x1000, len(memory), 7, ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    uc.hook_add(numbers["UC_HOOK_INTR"], ctypes.CFUNCTYPE(None)(lambda: None), keep=memory)
    return best(lambda: uc.emu_start(0x1000, 0x1000 + len(code)), 20) / count * 1e6


def calls(root: str) -> tuple[float, float]:
    """Calls a second: one by one, and by map."""
    from rtld.dlfcn.foreign.namespace import ForeignNamespace

    namespace = ForeignNamespace(root)
    absolute = namespace.dlopen("libc.so.6").function("abs", ctypes.c_int, ctypes.c_int)
    assert absolute(-3) == 3
    one = 10_000 / best(lambda: [absolute(n) for n in range(10_000)])
    many = 100_000 / best(lambda: list(absolute.map(range(100_000))))
    namespace.close()
    return one, many


def instructions(arch: str, want: toolchain.Target) -> int:
    """How many instructions an iteration of the loop has: a limit is found that is just enough for one more."""
    from rtld.backends.emulated import open_machine
    from rtld.backends.emulated.faults import LimitReached
    from rtld.elf.file import ElfFile
    from rtld.elf.scalar import dynsym

    file = ElfFile(str(compiled(BARE_LOOP, "bare.so", want, "-shared", "-fPIC", "-nostdlib")))
    (index,) = dynsym(file).named(b"loop")

    def enough(limit: int, rounds: int) -> bool:
        with open_machine(arch, instructions=limit) as machine:
            low, high = file.span
            base = machine.reserve(high - low + 0x1000, 0x10000) - (low & -0x1000)
            for load in file.loads:
                start = base + load.vaddr & -0x1000
                machine.protect(
                    start, load.vaddr + load.memsz - (start - base) + 0xFFF & -0x1000, 7
                )
                machine.write(base + load.vaddr, bytes(file.contents(load)))
            try:
                machine.call(base + dynsym(file).symbol(index).value, rounds)
            except LimitReached:
                return False
            return True

    def needed(rounds: int) -> int:
        low, high = 0, 40 * rounds + 100
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle, rounds) else (middle, high)
        return high

    return (needed(300) - needed(200)) // 100


# -- the tables -----------------------------------------------------------------------------------------


class Commands:
    """How each runs a program of a CPU."""

    def __init__(self, want: toolchain.Target, qiling: str | None) -> None:
        self.root = f"/usr/{want.triplet}"
        lib = f"LD_LIBRARY_PATH={self.root}/lib"
        rtld = [
            sys.executable, "-c", "import sys; from rtld.__main__ import main; sys.exit(main())", "run",
            f"--sysroot={self.root}", f"--bind={self.root}:{self.root}:ro", f"--env={lib}",
        ]  # fmt: skip
        self.all = {
            "rtld": rtld,
            "own ld.so": [*rtld, "--interp"],
            "qemu-user": [want.qemu, "-E", lib],
            "Qiling": [qiling, "-c", QILING, f"{self.root}/lib"] if qiling else None,
        }


def inside(arch: str, root: str, program: str, env: dict[str, str]) -> float:
    """CPU seconds of a run in a process that has done one thing like it."""
    command = [sys.executable, "-c", INSIDE, arch, root, program]
    done = [
        subprocess.run(command, env=env, capture_output=True, text=True, check=True).stderr
        for _ in range(7)
    ]
    return statistics.median(map(float, done))


def starts(how: Commands, arch: str, program: str, env: dict[str, str]) -> dict[str, Spent | None]:
    """A hello world by each; printed."""
    rows = {
        name: spent([*command, program], env, b"hello\n") if command else None
        for name, command in how.all.items()
    }
    ours = rows["rtld"]
    assert ours is not None
    print(f"{arch:8}{'inside':12}{inside(arch, how.root, program, env):8.3f}")
    for name, row in rows.items():
        text = f"{arch:8}{name:12}"
        if row is not None:
            text += f"{row.cpu:8.3f}{row.wall:8.3f}{ours.cpu / row.cpu:8.2f}{row.mb:8.0f}"
        else:
            text += "  does not run it" if how.all[name] else "  not installed (--qiling)"
        print(text, flush=True)
    return rows


def speeds(
    how: Commands, program: str, hello: dict[str, Spent | None], env: dict[str, str]
) -> dict[str, float]:
    """CPU seconds of the loop by each that runs a hello world."""
    found = {}
    for name, command in how.all.items():
        start = hello[name]
        whole = spent([*command, program], env, None, 1) if command and start else None
        if start is not None and whole is not None and name != "own ld.so":
            found[name] = max(whole.cpu - start.cpu, 1e-3)
    return found


def main() -> int:
    """One block a CPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qiling", metavar="PYTHON", help="Python of an environment with Qiling")
    parser.add_argument("arch", nargs="*", help=", ".join(CPUS))
    options = parser.parse_args()
    # Compiled files are what an installed package has; without them each start compiles everything again.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPATH"] = str(ROOT / "src")
    env.setdefault("PYTHONPYCACHEPREFIX", str(toolchain.cache_root() / "pycache"))
    python = spent([sys.executable, "-c", "pass"], env)
    numpy = spent([sys.executable, "-c", "import numpy"], env)
    assert python is not None
    assert numpy is not None
    print(
        f"python -c pass {python.cpu:.3f} s, import numpy {numpy.cpu:.3f} s, load {os.getloadavg()[0]:.1f}"
    )
    wanted = []
    for arch in options.arch or CPUS:
        lacking = toolchain.missing(toolchain.target(arch))
        if lacking:
            print(f"{arch}: {lacking} is not installed")
        else:
            wanted.append(arch)
    # First what other processes do: the memory of this one, while it is small, counts as theirs.
    print(f"\n{'start':20}{'CPU s':>8}{'wall s':>8}{'rtld /':>8}{'MB':>8}")
    loops = {}
    for arch in wanted:
        want = toolchain.target(arch)
        how = Commands(want, options.qiling)
        hello = starts(how, arch, str(compiled(HELLO, "hello", want)), env)
        loops[arch] = speeds(how, str(compiled(LOOP, "loop", want)), hello, env)
    print(
        "\nloop, MIPS"
        + "".join(f"{name:>12}" for name in ("rtld", "qemu-user", "/ rtld", "Qiling", "/ rtld"))
    )
    for arch in wanted:
        each, found = instructions(arch, toolchain.target(arch)), loops[arch]
        text = f"{arch:10}{each * COUNT / found['rtld'] / 1e6:12.0f}"
        for name in ("qemu-user", "Qiling"):
            if name in found:
                mips = each * COUNT / found[name] / 1e6
                text += f"{mips:12.0f}{found['rtld'] / found[name]:12.2f}"
            else:
                text += f"{'-':>12}{'-':>12}"
        print(text, flush=True)
    bare = bare_cost()
    print(
        f"\n{'us':10}{'trap':>12}{'/ bare':>12}{'system call':>12}{'/ bare':>12}{'calls/s':>12}{'by map':>12}"
    )
    for arch in wanted:
        trap, call = trap_cost(arch), call_cost(arch)
        one, many = calls(f"/usr/{toolchain.target(arch).triplet}")
        print(
            f"{arch:10}{trap:12.2f}{trap / bare:12.1f}{call:12.2f}{call / bare:12.1f}{one:12,.0f}{many:12,.0f}",
            flush=True,
        )
    print(f"bare: {bare:.2f} us")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

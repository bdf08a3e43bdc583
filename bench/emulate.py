"""Emulated CPUs against qemu-user: start of a program, speed of a loop, cost of a call to Python.

    python bench/emulate.py [ARCH...]

CPU seconds of the processes, median of 5; "loop" counts a fixed number of iterations of the same C loop, so that the ratio is
that of guest instructions. A trap is what a lazy PLT slot or a replaced function costs.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import toolchain  # noqa: E402

CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")
HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); }'
LOOP = "int main(void) { unsigned x = 1; for (unsigned i = 0; i < 300000000u; i++) x = x * 5 ^ i; return x == 7; }"
TRAPS = 100_000


def compiled(text: str, name: str, want: toolchain.Target) -> Path:
    argv = [
        want.cc,
        "-O2",
        "-fno-tree-vectorize",
        f"{name}.c",
        "-o",
        name,
        f"-Wl,--dynamic-linker={want.interp}",
    ]
    return (
        toolchain.compile_all([text, *argv], [toolchain.Step("file", f"{name}.c", text), argv])
        / name
    )


def spent(command: list[str], env: dict[str, str], times: int = 5) -> tuple[float, float]:
    """Median of CPU and wall seconds."""
    cpu, wall = [], []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=False)
        wall.append(time.monotonic() - begin)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(cpu), statistics.median(wall)


def trap_cost(arch: str) -> float:
    """Microseconds of one call from the guest to a Python function and back."""
    from rtld.backends.emulated import open_machine

    with open_machine(arch) as machine:
        left = TRAPS
        again = 0

        def handler() -> int:
            nonlocal left
            left -= 1
            return again if left else machine._returned

        again = machine.trap(handler)
        begin = time.process_time()
        machine.call(again)
        return (time.process_time() - begin) / TRAPS * 1e6


def main() -> int:
    """One row a CPU."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    print(
        f"{'':8} {'hello, CPU s: anchor':>21} {'interp':>7} {'qemu':>7} {'loop: rtld':>11} {'qemu':>7} {'ratio':>6} {'trap us':>8}"
    )
    for arch in sys.argv[1:] or CPUS:
        want = toolchain.target(arch)
        if toolchain.missing(want):
            print(f"{arch:8} {toolchain.missing(want)} is missing")
            continue
        root = f"/usr/{want.triplet}"
        rtld = [
            sys.executable,
            "-m",
            "rtld",
            "run",
            f"--sysroot={root}",
            f"--bind={root}:{root}:ro",
        ]
        qemu = [want.qemu, "-E", f"LD_LIBRARY_PATH={root}/lib"]
        more = [f"--env=LD_LIBRARY_PATH={root}/lib"]
        hello, loop = str(compiled(HELLO, "hello", want)), str(compiled(LOOP, "loop", want))
        ours, _ = spent([*rtld, *more, hello], env)
        theirs, _ = spent([*rtld, *more, "--interp", hello], env)
        peer, _ = spent([*qemu, hello], env)
        fast, _ = spent([*rtld, *more, "--interp", loop], env, 1)
        other, _ = spent([*qemu, loop], env, 1)
        ratio = (fast - theirs) / max(other - peer, 1e-3)
        print(
            f"{arch:8} {ours:21.3f} {theirs:7.3f} {peer:7.3f} {fast - theirs:11.2f} {other - peer:7.2f} {ratio:6.1f} {trap_cost(arch):8.2f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What the benchmarks measure with: a command's CPU and wall time, the rate of the time-stamp counter, medians."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """One run of a command. Times in seconds, memory in bytes."""

    wall: float
    cpu: float
    peak: int
    status: int


def environment(**more: str) -> dict[str, str]:
    """This process's environment with compiled modules allowed: start-up without .pyc files is nobody's start-up."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | more


def run(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Run a command with its output thrown away; CPU is user + system of it and of the children it waited for."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    begin = time.perf_counter()
    pid = os.posix_spawnp(
        argv[0], argv, environment() if env is None else env, file_actions=actions
    )
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    return Run(
        wall,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
        os.waitstatus_to_exitcode(status),
    )


def counter_rate() -> float:
    """Ticks per second of the counter that ld.so's statistics are made of (x86: rdtsc)."""
    if platform.machine() != "x86_64":
        raise NotImplementedError("ld.so's cycle counts are only understood on x86-64")
    # rdtsc; shl rdx, 32; or rax, rdx; ret
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    rates = []
    for _ in range(5):
        ticks, begin = read(), time.perf_counter()
        time.sleep(0.05)
        rates.append((read() - ticks) / (time.perf_counter() - begin))
    return statistics.median(rates)


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        for line in stream:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count() or 0,
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
    }


def best(step: Callable[[], object], times: int = 5) -> float:
    """CPU seconds of the fastest run."""
    seconds = []
    for _ in range(times):
        begin = time.process_time()
        step()
        seconds.append(time.process_time() - begin)
    return min(seconds)

"""How fast are calls of functions on emulated CPUs, next to the same call made with Unicorn's own Python face, and to ctypes here?

    python bench/emulate_calls.py [-n 20000] [--root DIR] [CPU ...]

For each CPU a Debian sysroot with zlib is made under DIR (a temporary directory; kept if DIR is given). Times are CPU times, each the
best of five; "plain" is registers, emu_start and the result by Unicorn's package; aims: 40,000 calls a second, 300,000 by ``map``.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))

from rtld.debian.sysroot import ARCHITECTURES, Request, create
from rtld.dlfcn.foreign.namespace import ForeignNamespace
from rtld.events import Progress
from timing import best

CPUS = ("i386", "x86_64", "arm", "aarch64", "riscv64", "s390x")
DEBIAN = {cpu: name for name, cpu in ARCHITECTURES.items()}
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


def plain(namespace: ForeignNamespace, address: int, count: int) -> float:
    """Calls a second of abs(n) as one would make them with the package."""
    import unicorn

    machine = namespace.world.machine
    cpu, numbers = machine.cpu, machine.engine._numbers
    # The package's face, of the same CPU.
    architecture, mode = (getattr(unicorn, name) for name in cpu.engine)
    face = unicorn.Uc(architecture, mode)
    face._uch = ctypes.c_void_p(machine.engine._uc.handle)
    top = machine._call_stack() - 0x1000
    order = "little" if cpu.order == "<" else "big"

    def calls() -> None:
        for n in range(count):
            if cpu.arguments:
                face.reg_write(numbers[cpu.arguments[0]], n)
            else:
                face.mem_write(top + 4, n.to_bytes(4, order))  # type: ignore[arg-type]
            if cpu.link:
                face.reg_write(numbers[cpu.link], machine._returned)
            else:
                face.mem_write(top, machine._returned.to_bytes(cpu.bits // 8, order))  # type: ignore[arg-type]
            face.reg_write(numbers[cpu.sp], top)
            face.emu_start(address, machine._returned)
            face.reg_read(numbers[cpu.result])

    return count / best(calls, 3)


def measure(cpu: str, root: str, count: int) -> None:
    """One line."""
    begin = time.process_time()
    namespace = ForeignNamespace(root)
    start = time.process_time() - begin
    begin = time.process_time()
    z = namespace.dlopen("libz.so.1")
    opened = time.process_time() - begin
    libc = namespace.dlopen("libc.so.6")
    absolute = libc.function("abs", ctypes.c_int, ctypes.c_int)
    crc = z.function("crc32", ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_uint)
    assert absolute(-3) == 3
    assert crc(0, b"abc", 3) == 0x352441C2
    qsort = libc.function("qsort", None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, COMPARE)
    called = 0

    def compare(a: object, b: object) -> int:
        nonlocal called
        called += 1
        return a[0] - b[0]  # type: ignore[index]

    single = count / best(lambda: [absolute(n) for n in range(count)])
    text = count / best(lambda: [crc(0, b"abc", 3) for _ in range(count)])
    many = 10 * count / best(lambda: list(absolute.map(range(10 * count))))
    values = (ctypes.c_int * 512)(*range(512, 0, -1))
    seconds = best(lambda: qsort(values, 512, 4, compare), 1)
    by_hand = plain(namespace, absolute.address, count // 4)
    print(
        f"{cpu:<9}{1000 * start:7.0f}{1000 * opened:7.0f}{single:12,.0f}{text:12,.0f}{many:12,.0f}{1e6 * seconds / called:9.1f}"
        f"{by_hand:12,.0f}{single / by_hand:8.2f}{many / by_hand:8.1f}"
    )
    namespace.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20_000, help="calls")
    parser.add_argument("--root", help="directory for the sysroots")
    parser.add_argument("cpu", nargs="*", help=", ".join(CPUS))
    options = parser.parse_args()
    native = ctypes.CDLL(None).abs
    native.argtypes = [ctypes.c_int]
    here = options.n / best(lambda: [native(n) for n in range(options.n)])
    print(f"ctypes on this machine: {here:,.0f} calls/s")
    print(
        "CPU      start  open     calls/s  with text   map: calls/s callback    plain/s   ratio  by map\n"
        "            ms    ms                                             us"
    )
    with tempfile.TemporaryDirectory() as temporary:
        base = options.root or temporary
        for cpu in options.cpu or CPUS:
            root = os.path.join(base, DEBIAN[cpu])
            if not os.path.isdir(root):
                create(DEBIAN[cpu], root, ["zlib1g"], Request(), Progress())
            measure(cpu, root, options.n)


if __name__ == "__main__":
    main()

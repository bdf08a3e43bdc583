"""The tables: numbers of system calls against the headers, code against the assembler, ranges against a set of pages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toolchain
from backends.emulated.programs import ALL
from rtld.arch import ARCHES, by_name
from rtld.arch.base import Stub
from rtld.backends.emulated import aborts, blockcount, brake, gate, repairs, trail
from rtld.backends.emulated.callnumbers import call_names
from rtld.backends.emulated.cpus import CPUS
from rtld.backends.emulated.kernel import Kernel
from rtld.backends.emulated.quirks import NOT_EMULATED, QUIRKS, VERSION
from rtld.backends.emulated.ranges import Ranges

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("cpu", ALL)
def test_numbers_are_those_of_the_headers(cpu: str, require: Callable[[str], None]) -> None:
    compiler = toolchain.target(cpu).cc
    if shutil.which(compiler) is None:
        require(compiler)
    text = "#include <asm/unistd.h>\n"
    command = [compiler, "-E", "-dM", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    macros = dict(re.findall(r"#define (__(?:ARM_)?NR\w*) (.*)", done.stdout))

    def value(text: str) -> int:
        names = re.sub(r"__\w+", lambda match: f"({macros.get(match[0], 0)})", text)
        return int(eval(names)) if "__" not in names else value(names)

    ours = {name: number for number, name in call_names(cpu).items()}
    theirs = {
        name.removeprefix("__NR_").replace("__ARM_NR_", "ARM_"): value(text)
        for name, text in macros.items()
        if "NR_" in name
    }
    both = ours.keys() & theirs.keys()
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}
    # The generic table has one call that AArch64 has and RISC-V has not, and the reverse.
    assert ours.keys() - theirs.keys() <= {"renameat", "riscv_flush_icache", "riscv_hwprobe"}


@pytest.mark.parametrize("cpu", ALL)
def test_every_function_of_the_kernel_is_some_call(cpu: str) -> None:
    served = {name.removeprefix("sys_") for name in dir(Kernel) if name.startswith("sys_")}
    assert {"exit", "exit_group", "read", "write", "writev", "brk", "munmap"} <= served
    names = {name for cpu in ALL for name in call_names(cpu).values()}
    assert served <= names
    assert set(call_names(cpu).values()) & {"mmap", "mmap2"}


#: Machine code of ours: what it is, whose.
CODES = [
    *((f"{cpu.name} boot", cpu.boot.code, cpu.name) for cpu in CPUS.values() if cpu.boot),
    *((f"{host} brake", code, host) for host, code in brake.CODE.items()),
    *((f"{host} blockcount", code, host) for host, code in blockcount.CODE.items()),
    *((f"{host} trail", code, host) for host, code in trail.CODE.items()),
    *((f"{host} repairs", code, host) for host, code in repairs.CODE.items()),
    *((f"{host} aborts", code, host) for host, code in aborts.CODE.items()),
    *((f"{host} gate", code, host) for host, code in gate.CODE.items()),
]


@pytest.mark.parametrize(("code", "cpu"), [row[1:] for row in CODES], ids=[r[0] for r in CODES])
def test_code_is_its_assembly(
    code: Stub, cpu: str, tmp_path: Path, require: Callable[[str], None]
) -> None:
    prefix = toolchain.target(cpu).triplet + "-" if cpu != os.uname().machine else ""
    if shutil.which(f"{prefix}as") is None:
        require(f"{prefix}as")
    source, objfile, flat = (tmp_path / name for name in ("s.s", "s.o", "s.bin"))
    source.write_text("\n".join((*code.assembly, "")))
    subprocess.run([f"{prefix}as", "-o", objfile, source], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", objfile, flat], check=True)
    assert flat.read_bytes()[: len(code)] == code.code


def test_cpus_agree_with_arch() -> None:
    assert CPUS.keys() | NOT_EMULATED.keys() == set(ARCHES)
    for cpu in CPUS.values():
        arch = by_name(cpu.name)
        assert (arch.bits, cpu.order in arch.orders) == (cpu.bits, True)
        assert cpu.sp == {"$29": "sp"}.get(arch.registers["sp"], arch.registers["sp"])


def test_the_version_is_the_one_the_quirks_are_of() -> None:
    assert f'emulate = ["unicorn=={VERSION}"' in (ROOT / "pyproject.toml").read_text()
    page = (ROOT / "docs/emulation.md").read_text()
    for quirk in QUIRKS:
        assert f"| {quirk.cpus} | {quirk.what} | {quirk.upstream} |" in page


# -- ranges -----------------------------------------------------------------------------------------

_limits = st.tuples(st.integers(0, 30), st.integers(1, 8)).map(lambda r: (r[0], r[0] + r[1]))
_steps = st.lists(st.tuples(st.sampled_from(["add", "remove"]), _limits, st.integers(0, 3)))


@given(_steps, st.integers(1, 6), st.sampled_from([1, 2, 4]))
def test_ranges(steps: list[tuple[str, tuple[int, int], int]], size: int, align: int) -> None:
    ranges, cells = Ranges(), dict[int, int]()
    for verb, (start, end), value in steps:
        if verb == "add":
            ranges.add(start, end, value)
            cells |= dict.fromkeys(range(start, end), value)
        else:
            gone = ranges.remove(start, end)
            expected = {at: cells.pop(at) for at in range(start, end) if at in cells}
            assert {at: v for low, high, v in gone for at in range(low, high)} == expected
        rows = list(ranges)
        assert all(a[1] <= b[0] for a, b in pairwise(rows))
        assert {at: v for low, high, v in rows for at in range(low, high)} == cells
        cut = ranges.pieces(start, end)
        assert {at: v for low, high, v in cut for at in range(low, high)} == {
            at: cells[at] for at in range(start, end) if at in cells
        }
    fits = [
        at
        for at in range(3, 41 - size)
        if at % align == 0 and not any(cell in cells for cell in range(at, at + size))
    ]
    assert ranges.lowest_gap(size, align, 3, 40) == (fits[0] if fits else None)
    assert ranges.highest_gap(size, align, 3, 40) == (fits[-1] if fits else None)

"""Faults of the CPU that a program of Linux handles: what it writes is what this machine, or qemu-user, says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld

SOURCE = Path(__file__).parent / "faulting.c"


@pytest.mark.parametrize("arch", ["i386", "x86_64"])
def test_divisions_by_zero_again_and_again(arch: str, cc: Callable[..., Path], rtld_command: list[str], tmp_path: Path) -> None:  # fmt: skip
    program = cc(SOURCE, "faulting", "-static", arch=arch)
    done = rtld(rtld_command, arch, program, options=[f"--sysroot={tmp_path}"])
    judged = toolchain.run(toolchain.target(arch), [str(program)])
    assert judged.stdout.count("signal 8") == 5
    assert (done.stdout, done.returncode, done.stderr) == (judged.stdout, 0, "")

"""The emulated Linux: signals, timers, System V IPC, sockets. Judged by qemu-user; where that is incomplete, by the host."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld

HERE = Path(__file__).parent
CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x", "x86_64")
FLAGS = ("-w", "-O1", "-funwind-tables", "-static", "-pthread")

CC = Callable[..., Path]


def root_with(program: Path, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "tmp/dir").mkdir(parents=True)
    (root / program.name).write_bytes(program.read_bytes())
    (root / program.name).chmod(0o755)
    return root


def check(
    name: str,
    arch: str,
    cc: CC,
    command: list[str],
    tmp_path: Path,
    *options: str,
    judge: str | None = None,
) -> None:
    """The program *name* prints what it prints under qemu-user, or on the CPU *judge*."""
    program = cc(HERE / f"{name}.c", name, *FLAGS, "-lrt", arch=arch)
    reference = cc(HERE / f"{name}.c", name, *FLAGS, "-lrt", arch=judge) if judge else program
    beside = tmp_path / "beside"
    beside.mkdir()
    wanted = toolchain.run(toolchain.target(judge or arch), [str(reference), str(beside)])
    assert wanted.returncode == 0, wanted.stdout + wanted.stderr
    root = root_with(program, tmp_path)
    done = rtld(
        command, arch, Path(f"/{name}"), "/tmp/dir", options=[f"--sysroot={root}", *options]
    )
    assert (done.stdout, done.returncode) == (wanted.stdout, 0), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("arch", CPUS)
def test_handlers(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """siginfo, ucontext read and changed, other stacks, calls made again, waiting for signals, unwinding."""
    check("handlers", arch, cc, rtld_command, tmp_path)


@pytest.mark.parametrize("arch", CPUS)
def test_waiting(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Timers of three kinds, eventfd, memfd, inotify, epoll."""
    check("waiting", arch, cc, rtld_command, tmp_path)


@pytest.mark.parametrize("arch", CPUS)
def test_ipc(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """qemu-user gives structures in wrong shapes on s390x: the host is the judge."""
    check("ipc", arch, cc, rtld_command, tmp_path, judge="x86_64")


def test_ipc_is_the_machines_own(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """A key means nothing to the host, nor to another run."""
    text = (
        "#include <stdio.h>\n#include <sys/ipc.h>\n#include <sys/shm.h>\n#include <sys/sem.h>\n#include <sys/msg.h>\n"
        "int main(void) { int a = shmget(0x5ec0de, 100, IPC_CREAT | IPC_EXCL | 0600);\n"
        "int b = semget(0x5ec0de, 1, IPC_CREAT | IPC_EXCL | 0600), c = msgget(0x5ec0de, IPC_CREAT | IPC_EXCL | 0600);\n"
        'printf("%d %d %d\\n", a >= 0, b >= 0, c >= 0); }'
    )
    program = cc(text, "keys", "-static", "-w", arch="aarch64")
    for _ in range(2):
        assert rtld(rtld_command, "aarch64", program, options=[]).stdout == "1 1 1\n"
    seen = subprocess.run(["ipcs", "-a"], capture_output=True, text=True, check=False).stdout
    assert "5ec0de" not in seen

"""C programs under ``rtld run`` on every emulated CPU: what they write and how they end is what qemu-user says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain

HERE = Path(__file__).parent
CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")
MODES = {"ours": [], "now": ["--now"], "interp": ["--interp"]}

CC = Callable[..., Path]
Outcome = tuple[str, int]


def rtld(
    command: list[str], arch: str, program: Path, *words: str, options: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """``rtld run`` with the cross compiler's libraries as sysroot, which stands under its own path too."""
    root = f"/usr/{toolchain.target(arch).triplet}"
    more = options if options is not None else [f"--sysroot={root}", f"--bind={root}:{root}:ro"]
    env = {**os.environ, "LD_LIBRARY_PATH": f"{root}/lib", "LC_ALL": "C"}
    return subprocess.run(
        [*command, "run", *more, "--", str(program), *words],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip


def qemu(arch: str, program: Path, *words: str) -> Outcome:
    done = toolchain.run(toolchain.target(arch), [str(program), *words])
    return done.stdout, done.returncode


def sysroot(arch: str) -> list[str]:
    root = f"/usr/{toolchain.target(arch).triplet}"
    return [f"--sysroot={root}", f"--bind={root}:{root}:ro"]


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("mode", MODES)
def test_hello(mode: str, arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "hello.c", "hello", "-lm", arch=arch)
    done = rtld(rtld_command, arch, program, "word", options=[*MODES[mode], *sysroot(arch)])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program, "word"), "")


@pytest.mark.parametrize("arch", CPUS)
def test_static(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program = cc(HERE / "hello.c", "hello", "-static", "-lm", arch=arch)
    done = rtld(rtld_command, arch, program, options=[f"--sysroot={tmp_path}"])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program), "")


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("mode", ["ours", "interp"])
def test_threads(mode: str, arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "threads.c", "threads", "-O1", "-pthread", arch=arch)
    done = rtld(rtld_command, arch, program, options=[*MODES[mode], *sysroot(arch)])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program), "")


@pytest.mark.parametrize("arch", CPUS)
def test_processes_and_signals(arch: str, cc: CC, rtld_command: list[str]) -> None:
    """fork, exec, pipes, waiting, signals; the last one it dies of."""
    program = cc(HERE / "processes.c", "processes", "-w", arch=arch)
    done = rtld(rtld_command, arch, program)
    lines = done.stdout.splitlines()
    assert lines[:7] == [
        "10 from child 7", "child says hi", "exec 3", "got 10", "pause -1 1 got 14", "term 15", "popen 1",
    ]  # fmt: skip
    assert lines[7].startswith("segv 11 0x")
    assert lines[8:] == ["segv 9"]
    assert done.returncode == -11
    assert "Segmentation fault" in done.stderr


@pytest.mark.parametrize("arch", CPUS)
def test_confinement(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Nothing outside the sysroot is reached; qemu-user, which confines nobody, shows that the ways are ways."""
    secret = tmp_path / "outside" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    program = cc(HERE / "escape.c", "escape", "-w", "-static", arch=arch)
    (root / "escape").write_bytes(program.read_bytes())
    (root / "escape").chmod(0o755)
    pid = str(os.getpid())
    done = rtld(
        rtld_command, arch, Path("/escape"), str(secret), pid, options=[f"--sysroot={root}"]
    )
    assert done.stdout.splitlines() == [
        "environ 1", "mem 1", "self mem 1", "openat 1", "fchdir 1", "link 1", "rename 1", "write 1", "kill 1 1", "socket 1",
        "device 1", "memory 1", "reached 0",
    ], done.stderr  # fmt: skip
    assert (root / "tmp/rtld-escaped").exists()
    assert secret.read_text() == "secret"
    assert "by its name: reached" in qemu(arch, program, str(secret), pid)[0]


def test_binds(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """What is bound is there, read-only if so said."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given/file").write_text("given")
    text = (
        '#include <stdio.h>\n#include <fcntl.h>\n#include <unistd.h>\nint main(void) { char b[9] = ""; int f = open("/in/file", O_RDONLY);'
        'read(f, b, 8); printf("%s %d\\n", b, open("/in/new", O_CREAT | O_WRONLY, 0600) >= 0); }'
    )
    program = cc(text, "binds", "-static", "-w", arch="aarch64")
    for end, writable in (("", 1), (":ro", 0)):
        done = rtld(rtld_command, "aarch64", program, options=[f"--bind={tmp_path}/given:/in{end}"])
        assert done.stdout == f"given {writable}\n", done.stderr


def test_limits(cc: CC, rtld_command: list[str]) -> None:
    endless = cc("int main(void) { for (;;); }", "endless", "-static", arch="riscv64")
    done = rtld(rtld_command, "riscv64", endless, options=["--timeout=0.3"])
    assert done.returncode == -24  # SIGXCPU
    assert "0.3 seconds are over" in done.stderr
    greedy = cc(
        "#include <stdlib.h>\nint main(void) { return malloc(300 << 20) != 0; }",
        "greedy",
        "-static",
        arch="riscv64",
    )
    assert rtld(rtld_command, "riscv64", greedy, options=["--memory=100"]).returncode == 0
    assert rtld(rtld_command, "riscv64", greedy, options=["--memory=1000"]).returncode == 1


def test_the_same_seed_gives_the_same_addresses(cc: CC, rtld_command: list[str]) -> None:
    text = '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { int x; printf("%p %p %p\\n", main, &x, malloc(9)); }'
    program = cc(text, "where", "-w", arch="aarch64")

    def run(*options: str) -> str:
        return rtld(
            rtld_command, "aarch64", program, options=[*sysroot("aarch64"), *options]
        ).stdout

    assert run("--seed=5") == run("--seed=5") != run("--seed=6")
    assert run("--no-aslr") == run("--no-aslr")


def test_a_missing_sysroot_is_told(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program = cc("int main(void) { return 0; }", "nothing", arch="s390x")
    done = rtld(rtld_command, "s390x", program, options=[f"--sysroot={tmp_path}"])
    assert done.returncode == 127
    assert "its interpreter" in done.stderr


def test_the_steps_of_execve_are_told(cc: CC, rtld_command: list[str]) -> None:
    program = cc("int main(void) { return 0; }", "nothing", arch="aarch64")
    done = rtld(
        rtld_command, "aarch64", program, options=[*sysroot("aarch64"), "--interp", "--trace=exec"]
    )
    steps = [
        line.split("exec: ")[1].split(":")[0]
        for line in done.stderr.splitlines()
        if "exec: " in line
    ]
    assert steps == [
        "open",
        "interpreter",
        "address space",
        "base",
        "map",
        "map",
        "base",
        "map",
        "map",
        "stack",
        "start",
    ]

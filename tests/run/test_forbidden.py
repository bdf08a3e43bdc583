"""Where system calls that we like to use are forbidden, programs run all the same: ptrace, memfd_create, process_vm_writev, ..."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from run.conftest import DATA, Done

# A filter of system calls (seccomp(2)) that lets these fail with EPERM, then the command.
DENY = DATA / "deny.py"
FORBIDDEN = [
    "ptrace",
    "memfd_create",
    "process_vm_writev",
    "pr_set_mm",
    "ptrace,memfd_create,pr_set_mm",
]


@pytest.fixture
def under(rtld_command: list[str], tmp_path: Path) -> Callable[..., Done]:
    """``under("ptrace", [program, ...], "--lazy")``: natively, and by us without that call; both must be equal."""
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(tmp_path), "LD_LIBRARY_PATH": "."}
    ours_env = env | {
        name: os.environ[name] for name in ("PYTHONPATH", "VIRTUAL_ENV") if name in os.environ
    }

    def go(command: list[str], env: dict[str, str]) -> Done:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def compare(forbidden: str, command: list[str], *options: str) -> Done:
        native = go(command, env)
        filtered = [sys.executable, str(DENY), forbidden, *rtld_command]
        ours = go([*filtered, "run", *options, "--", *command], ours_env | {"RTLD_DEBUG": "1"})
        assert ours.stderr == native.stderr
        assert ours.stdout == native.stdout
        assert ours.returncode == native.returncode
        return ours

    return compare


def test_the_filter_forbids() -> None:
    """Or all of this would prove nothing."""
    code = "import os; os.memfd_create('x')"
    done = subprocess.run(
        [sys.executable, DENY, "memfd_create", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Operation not permitted" in done.stderr
    code = "import ctypes; print(ctypes.CDLL(None).ptrace(0, 0, 0, 0))"
    done = subprocess.run(
        [sys.executable, DENY, "ptrace", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "-1\n"


@pytest.mark.parametrize("forbidden", FORBIDDEN)
@pytest.mark.parametrize("options", [(), ("--lazy",)], ids=["early", "lazy"])
def test_the_dlopen_family(
    build: Callable[..., Path], under: Callable[..., Done], forbidden: str, options: tuple[str, ...]
) -> None:
    """Plugins with thread-local storage, too."""
    for number in range(4):
        extra = ["-DINITIAL_EXEC"] if number == 0 else []
        build("plugin.c", f"plugin{number}.so", "-shared", "-fPIC", f"-DN={number}", *extra)
    build("plugin.c", "described.so", "-shared", "-fPIC", "-DN=40", "-mtls-dialect=gnu2")
    build("asks.c", "asks.so", "-shared", "-fPIC")
    build("deep.c", "deep.so", "-shared", "-fPIC")
    build("dlopen_all.c", "dlopen_all", "-rdynamic", "-pthread")
    under(forbidden, ["./dlopen_all"], *options)


@pytest.mark.parametrize("forbidden", FORBIDDEN)
def test_how_it_ends(under: Callable[..., Done], forbidden: str) -> None:
    assert (
        under(
            forbidden, ["/bin/sh", "-c", "exec 3>&1; echo $0; ls /proc/self/fd; exit 7"]
        ).returncode
        == 7
    )
    assert under(forbidden, ["/bin/sh", "-c", "kill -TERM $$"]).returncode == -15
    assert under(forbidden, ["/bin/echo", "kernel's part"], "--interp").returncode == 0


@pytest.mark.parametrize("forbidden", FORBIDDEN)
def test_unwinding(build: Callable[..., Path], under: Callable[..., Done], forbidden: str) -> None:
    build("unwinding.cc", "unwinding", "-O1", "-pthread")
    under(forbidden, ["./unwinding"])


def test_a_program_of_musl(build: Callable[..., Path], under: Callable[..., Done]) -> None:
    build("plugin.c", "plugin.so", "-shared", "-fPIC", "-DN=3", libc="musl")
    library = build("library.c", "liblibrary.so", "-shared", "-fPIC", libc="musl")
    build(
        "program.c",
        "program",
        str(library),
        "-Wl,-rpath,$ORIGIN",
        "-Wl,--no-as-needed",
        libc="musl",
    )
    under("ptrace", ["./program"])


@pytest.mark.parametrize("forbidden", ["process_vm_writev", "memfd_create"])
def test_proc_self_exe(under: Callable[..., Done], forbidden: str) -> None:
    """Right wherever it can be set, or the kernel can be made to execute the file (ptrace)."""
    under(forbidden, ["/usr/bin/readlink", "/proc/self/exe"])


def test_what_is_missing(
    under: Callable[..., Done], build: Callable[..., Path], tmp_path: Path
) -> None:
    library = build("library.c", "liblibrary.so", "-shared", "-fPIC")
    build("program.c", "program", str(library), "-no-pie", "-fno-pic")
    library.unlink()
    assert under("ptrace", ["./program"]).returncode == 127
    (tmp_path / "liblibrary.so").write_bytes(b"")
    assert under("ptrace", ["./program"]).returncode == 127

"""``rtld run`` for programs of other CPUs, as the tests need it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import toolchain
from casefile import Case
from toolchain import Target

CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")


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


def sysroot(arch: str) -> list[str]:
    root = f"/usr/{toolchain.target(arch).triplet}"
    return [f"--sysroot={root}", f"--bind={root}:{root}:ro"]


def run_case(
    command: list[str], case: Case, want: Target, place: Path, root: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """``rtld run`` of a built case: it sees the C library's files and its own directory, by the names they have here."""
    env = toolchain.environment(want, case.environment(place))
    given = {key: env.pop(key) for key in list(env) if key.startswith("LD_")}
    settings = [f"--env={key}={value}" for key, value in given.items()]
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        settings += ["--env=PYTHONPATH="]
    files = [f"--sysroot={root}"]
    if root != "/":
        files += [f"--bind={root}:{root}:ro", f"--bind={place}:{place}"]
    words = [
        *command,
        "run",
        "--timeout=60",
        *options,
        *files,
        *settings,
        "--",
        str(place / "main"),
    ]
    return subprocess.run(
        [*words, *case.args],
        env=env, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="backslashreplace",
        timeout=120, check=False,
    )  # fmt: skip

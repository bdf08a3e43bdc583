"""Every case of ``tests/cases`` under ``rtld run`` on every emulated CPU that it is for, with glibc and with musl; the judge is
the platform's own loader under qemu-user.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

import casefile
import muslroot
import toolchain
from casefile import Case
from conftest import require
from toolchain import Target

CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")


def pairs(libc: str) -> list[ParameterSet]:
    """Each case with each CPU that it is for."""
    needed = f"{toolchain.HOST}-musl" if libc == "musl" else ""
    return [
        pytest.param(case, arch, id=f"{case.name}-{arch}")
        for case in casefile.all_cases()
        for arch in CPUS
        if arch in case.targets
        and (not needed or needed in case.targets)
        and "norun" not in case.tags
    ]


def run(
    command: list[str], case: Case, want: Target, place: Path, root: str
) -> subprocess.CompletedProcess[str]:
    """``rtld run`` of a built case: it sees the C library's files and its own directory, by the names they have here."""
    env = toolchain.environment(want, case.environment(place))
    given = {key: env.pop(key) for key in list(env) if key.startswith("LD_")}
    settings = [f"--env={key}={value}" for key, value in given.items()]
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        settings += ["--env=PYTHONPATH="]
    files = [f"--sysroot={root}", f"--bind={root}:{root}:ro", f"--bind={place}:{place}"]
    words = [*command, "run", "--timeout=60", *files, *settings, "--", str(place / "main")]
    return subprocess.run(
        [*words, *case.args],
        env=env, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="backslashreplace",
        timeout=120, check=False,
    )  # fmt: skip


def compare(command: list[str], case: Case, want: Target, root: str) -> None:
    place = case.build(want)
    environment = case.environment(place)
    judge = toolchain.run(want, [str(place / "main"), *case.args], environment, cwd=place)
    done = run(command, case, want, place, root)
    assert (done.stdout, done.returncode) == (judge.stdout, judge.returncode), done.stderr
    if want.libc == "glibc":
        for words in case.stderr:
            assert words in done.stderr


@pytest.mark.parametrize(("case", "arch"), pairs("glibc"))
def test_glibc(case: Case, arch: str, rtld_command: list[str]) -> None:
    want = toolchain.target(arch)
    lacking = toolchain.missing(want, cxx=case.cxx)
    if lacking:
        require(lacking)
    compare(rtld_command, case, want, f"/usr/{want.triplet}")


@pytest.mark.parametrize(("case", "arch"), pairs("musl"))
def test_musl(case: Case, arch: str, rtld_command: list[str]) -> None:
    try:
        want = muslroot.musl_target(arch)
    except muslroot.Unavailable as missing:
        require(str(missing))
    compare(rtld_command, case, want, muslroot.musl_root(arch))

"""Every case of ``tests/cases`` under ``rtld run`` on every emulated CPU that it is for, with glibc and with musl; the judge is
the platform's own loader under qemu-user.
"""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet

import casefile
import muslroot
import toolchain
from casefile import Case
from conftest import require
from emulated_support import CPUS, run_case
from toolchain import Target


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


def compare(command: list[str], case: Case, want: Target, root: str) -> None:
    place = case.build(want)
    environment = case.environment(place)
    judge = toolchain.run(want, [str(place / "main"), *case.args], environment, cwd=place)
    done = run_case(command, case, want, place, root)
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

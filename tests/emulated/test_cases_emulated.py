"""Every case of ``tests/cases`` under ``rtld run`` on the emulated CPUs that it is for, with glibc and with musl; the judge is
the platform's own loader under qemu-user.
"""

from __future__ import annotations

import os

import pytest
from _pytest.mark import ParameterSet

import casefile
import muslroot
import toolchain
from casefile import Case
from conftest import require
from emulated_support import CPUS, run_case
from toolchain import Target

#: The host's own CPU, emulated; its sysroot is the root directory. Its features are not the host's.
HOST = (toolchain.HOST,) if toolchain.HOST == "x86_64" else ()
OF_THE_CPU = {"search/hwcaps_subdirectory"}


def pairs() -> list[ParameterSet]:
    """Each case with every other CPU that it is for, in turns; with RTLD_SLOW=1 each with all of them."""
    found = []
    for number, case in enumerate(casefile.all_cases()):
        arches = [
            arch
            for arch in (*CPUS, *HOST)
            if arch in case.targets
            and "norun" not in case.tags
            and not (arch in HOST and case.name in OF_THE_CPU)
        ]
        if os.environ.get("RTLD_SLOW") != "1":
            arches = arches[number % 2 :: 2] or arches
        found += [pytest.param(case, arch, id=f"{case.name}-{arch}") for arch in arches]
    return found


def turns() -> list[ParameterSet]:
    """Each case that is for musl, on one CPU after the other."""
    found = []
    for i, case in enumerate(casefile.all_cases()):
        cpus = [arch for arch in (*CPUS, *HOST) if arch in case.targets]
        if cpus and f"{toolchain.HOST}-musl" in case.targets and "norun" not in case.tags:
            arch = cpus[i % len(cpus)]
            found.append(pytest.param(case, arch, id=f"{case.name}-{arch}"))
    return found


def compare(command: list[str], case: Case, want: Target, root: str) -> None:
    place = case.build(want)
    environment = case.environment(place)
    judge = toolchain.run(want, [str(place / "main"), *case.args], environment, cwd=place)
    done = run_case(command, case, want, place, root)
    assert (done.stdout, done.returncode) == (judge.stdout, judge.returncode), done.stderr
    if want.libc == "glibc":
        for words in case.stderr:
            assert words in done.stderr


@pytest.mark.parametrize(("case", "arch"), pairs())
def test_glibc(case: Case, arch: str, rtld_command: list[str]) -> None:
    want = toolchain.target(arch)
    lacking = toolchain.missing(want, cxx=case.cxx)
    if lacking:
        require(lacking)
    compare(rtld_command, case, want, "/" if arch in HOST else f"/usr/{want.triplet}")


@pytest.mark.parametrize(("case", "arch"), turns())
def test_musl(case: Case, arch: str, rtld_command: list[str]) -> None:
    if arch in HOST:
        want = toolchain.target(arch, "musl")
        lacking = toolchain.missing(want)
        if lacking:
            require(lacking)
        compare(rtld_command, case, want, "/")
        return
    try:
        want = muslroot.musl_target(arch)
    except muslroot.Unavailable as missing:
        require(str(missing))
    compare(rtld_command, case, want, muslroot.musl_root(arch))

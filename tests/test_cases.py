"""Every case on every CPU that it is for: the platform's own loader judges it, then our link is compared with that.

Three tests per case and CPU:
``test_judge`` builds and runs it under the platform's loader (a wrong case fails here);
``test_link`` compares modules, bindings and initialiser order with ld.so's own account;
``test_run`` starts it under ``rtld run`` in each mode and compares with the run of ``test_judge``.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

import casefile
import oracle
import toolchain
from casefile import Case
from conftest import require
from toolchain import Target


def pairs(wanted: Callable[[Case, Target], bool] = lambda case, want: True) -> list[ParameterSet]:
    """Each case with each of its targets, where ``wanted`` says so."""
    return [
        pytest.param(case, toolchain.TARGETS[name], id=f"{case.name}-{name}")
        for case in casefile.all_cases()
        for name in case.targets
        if wanted(case, toolchain.TARGETS[name])
    ]


# What `rtld run` is asked for. The kernel's part alone must give the same result as our linking.
MODES = {"default": [], "lazy": ["--lazy"], "interp": ["--interp"]}


def build(case: Case, want: Target) -> Path:
    """The case's directory, or skip for want of a tool."""
    lacking = toolchain.missing(want, cxx=case.cxx)
    if lacking:
        require(lacking)
    return case.build(want)


def judge(case: Case, want: Target, place: Path) -> subprocess.CompletedProcess[str]:
    """The run under the platform's own loader."""
    program = str(place / "main")
    return toolchain.run(want, [program, *case.args], case.environment(place), cwd=place)


@pytest.mark.parametrize(("case", "want"), pairs())
def test_judge(case: Case, want: Target) -> None:
    place = build(case, want)
    done = judge(case, want, place)
    told = f"stdout:\n{done.stdout}\nstderr:\n{done.stderr}"
    if case.stdout is not None:
        assert done.stdout.splitlines() == case.stdout, told
    assert done.returncode == case.status, told  # qemu-user dies of the program's signal too
    if want.libc == "glibc":  # the words are glibc's
        for words in case.stderr:
            assert words in done.stderr, told


def emulator(want: Target) -> list[str]:
    return [] if toolchain.runs_here(want.arch) else [want.qemu]


@pytest.mark.parametrize(
    ("case", "want"), pairs(lambda case, want: case.dynamic and "nolink" not in case.tags)
)
def test_link(case: Case, want: Target) -> None:
    import rtld

    place = build(case, want)
    program = str(place / "main")
    env = toolchain.environment(want, case.environment(place))
    link = rtld.link(program, env=env)
    theirs_listed = oracle.ld_list(program, env, emulator(want))
    hidden = {program} if want.libc == "glibc" else {program, oracle.interp(program)}
    listed = [module.path for module in link.modules if module.path not in hidden]
    assert listed == [row.path for row in theirs_listed if row.path is not None]
    for words in case.problems:
        assert any(words in str(problem.message) for problem in link.problems), link.problems
    if not case.problems:
        assert [p for p in link.problems if p.fatal] == []
    if want.libc != "glibc":
        return  # musl tells modules, not bindings
    theirs = oracle.trace(program, env, emulator(want))
    # ld.so binds itself too, but not while it only lists (rtld.c skips its own map there).
    loader = oracle.interp(program)
    ours = {
        (referrer, definer, symbol, version)
        for referrer, definer, symbol, version, _ in link.bindings()
        if definer is not None and referrer != loader
    }
    expected = {(row.referrer, row.definer, row.symbol, row.version) for row in theirs.bindings}
    assert sorted(ours - expected) == []
    assert sorted(expected - ours) == []


# ld.so tells the order while it runs the program, which has to get that far; musl tells nothing.
@pytest.mark.parametrize(
    ("case", "want"),
    pairs(
        lambda case, want: (
            case.dynamic
            and want.native
            and want.libc == "glibc"
            and case.status == 0
            and "nolink" not in case.tags
        )
    ),
)
def test_init_order(case: Case, want: Target) -> None:
    import rtld

    place = build(case, want)
    program = str(place / "main")
    env = toolchain.environment(want, case.environment(place))
    theirs = oracle.ld_init_order(program, case.args, env, cwd=str(place))
    link = rtld.link(program, env=env)
    ours = [module.path for module in link.init_order]
    # An initialiser may itself dlopen: such a library is no part of the link.
    assert [path for path in ours if path in theirs] == [path for path in theirs if path in ours]


@functools.cache
def has_run(*rtld: str) -> bool:
    return (
        subprocess.run([*rtld, "run", "--help"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("mode", MODES)
# `rtld run` is for programs of this CPU.
@pytest.mark.parametrize(
    ("case", "want"), pairs(lambda case, want: want.native and "norun" not in case.tags)
)
def test_run(case: Case, want: Target, mode: str, rtld_command: list[str]) -> None:
    if not has_run(*rtld_command):
        pytest.skip("there is no `rtld run` yet")
    place = build(case, want)
    theirs = judge(case, want, place)
    env = toolchain.environment(want, case.environment(place))
    here = {key: env.pop(key) for key in list(env) if key.startswith("LD_")}
    settings = [f"--env={key}={value}" for key, value in here.items()]
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        settings += ["--env=PYTHONPATH="]
    ours = subprocess.run(
        [*rtld_command, "run", *MODES[mode], *settings, "--", str(place / "main"), *case.args],
        env=env,
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=60,
        check=False,
    )
    told = f"stdout:\n{ours.stdout}\nstderr:\n{ours.stderr}"
    assert ours.stdout == theirs.stdout, told
    assert ours.returncode == theirs.returncode, told

"""Programs of musl on emulated CPUs, linked by us and by musl itself; the judge is qemu-user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import muslroot
import toolchain
from conftest import require
from toolchain import Step, Target

HERE = Path(__file__).parent
MODES = {"ours": [], "now": ["--now"], "interp": ["--interp"]}
LIBRARY = """
#include <stdio.h>
int counter = 10;
__thread int tls_value = 100;
static __thread int local = 3;
__attribute__((constructor)) static void up(void) { puts("lib up"); }
__attribute__((destructor)) static void down(void) { puts("lib down"); }
int bump(int n) { counter += n; local++; return counter + local; }
int *own_tls(void) { return &local; }
"""
PLUGIN = """
#include <stdio.h>
static __thread int calls = 1000;
__attribute__((constructor)) static void up(void) { puts("plug up"); }
__attribute__((destructor)) static void down(void) { puts("plug down"); }
int plug(int n) { return ++calls + n; }
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=tuple(muslroot.MUSL))
def want(request: pytest.FixtureRequest) -> Target:
    try:
        return muslroot.musl_target(request.param)
    except muslroot.Unavailable as missing:
        require(str(missing))
        raise


def build(want: Target) -> Path:
    """The directory of the program and its libraries."""
    text = (HERE / "musl.c").read_text()
    loader = f"-Wl,--dynamic-linker={want.interp}"
    rpath = "-Wl,-rpath,$ORIGIN"
    return toolchain.compile_all(
        [text, LIBRARY, PLUGIN, want.name, toolchain.version_of(want.cc)],
        [
            Step("file", "main.c", text),
            Step("file", "lib.c", LIBRARY),
            Step("file", "plug.c", PLUGIN),
            [want.cc, "-shared", "-fPIC", "lib.c", "-o", "liblib.so"],
            [want.cc, "-shared", "-fPIC", "plug.c", "-o", "libplug.so"],
            [want.cc, "main.c", "-w", "-L.", "-llib", loader, rpath, "-o", "main"],
        ],
    )


def rtld(
    command: list[str], want: Target, program: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    """*words*: options, then ``--`` and arguments."""
    root = muslroot.musl_root(want.arch)
    options = [word for word in words if word.startswith("--")]
    rest = [word for word in words if not word.startswith("--")]
    binds = [
        f"--sysroot={root}",
        f"--bind={root}:{root}:ro",
        f"--bind={program.parent}:{program.parent}",
    ]
    return subprocess.run(
        [*command, "run", *binds, *options, "--", str(program), *rest],
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=120, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_program(mode: str, want: Target, rtld_command: list[str]) -> None:
    """Own library, thread-local variables, threads, qsort, dlopen, dlsym, dlerror, dladdr, destructors."""
    program = build(want) / "main"
    judge = toolchain.run(want, [str(program), "word"])
    assert judge.returncode == 42, judge.stderr
    done = rtld(rtld_command, want, program, *MODES[mode], "word")
    assert (done.stdout, done.returncode, done.stderr) == (judge.stdout, 42, "")


def test_what_is_missing(want: Target, rtld_command: list[str], tmp_path: Path) -> None:
    """musl tells all that is wrong, and exits with 127."""
    place = build(want)
    for name in ("main", "libplug.so"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    program = tmp_path / "main"
    program.chmod(0o755)
    judge = toolchain.run(want, [str(program)])
    assert "Error loading shared library liblib.so" in judge.stderr
    assert "Error relocating" in judge.stderr
    done = rtld(rtld_command, want, program)
    assert (done.stdout, done.returncode) == ("", judge.returncode)
    assert done.stderr == judge.stderr

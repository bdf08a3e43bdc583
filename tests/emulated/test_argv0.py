"""A program goes by its argv[0] in what is told about it: the judge is its own ld.so, emulated, or this machine's."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from emulated_support import sysroot

CC = Callable[..., Path]
MAIN = "void gone(void); int main(int argc, char **argv) { if (argc > 1) gone(); return 0; }"


@pytest.fixture(params=["arm", "x86_64"])
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(cc: CC, arch: str, tmp_path: Path) -> Path:
    """``cave`` calls a function that the library beside it does not have any more."""
    foreign = {} if arch == "x86_64" else {"arch": arch}
    flags = ("-shared", "-fPIC", "-Wl,-soname,libcave.so")
    there = cc("void gone(void) {}", "libcave.so", *flags, **foreign)
    program = cc(
        MAIN, "cave", "-w", f"-L{there.parent}", "-lcave", "-Wl,-z,lazy,-rpath,$ORIGIN", **foreign
    )
    (tmp_path / "cave").write_bytes(program.read_bytes())
    (tmp_path / "cave").chmod(0o755)
    other = cc("void other(void) {}", "libcave.so", *flags, **foreign)
    (tmp_path / "libcave.so").write_bytes(other.read_bytes())
    return tmp_path


@pytest.fixture
def run(rtld_command: list[str], arch: str, place: Path) -> Callable[..., tuple[int, str]]:
    """``rtld run`` in that directory, which is in PATH."""

    def call(*words: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        root = [] if arch == "x86_64" else sysroot(arch)
        done = subprocess.run(
            [*rtld_command, "run", *root, *options, *words],
            env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "LC_ALL": "C"},
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    return call


@pytest.mark.parametrize("options", [(), ("--now",), ("--argv0=other",)])
def test_an_undefined_symbol(
    run: Callable[..., tuple[int, str]], options: tuple[str, ...], arch: str
) -> None:
    name = "./cave" if arch != "x86_64" else "cave"
    said = run(name, "call", options=options)
    assert said == run(name, "call", options=("--interp", *options))
    called = "other" if options == ("--argv0=other",) else name
    assert said == (127, f"{called}: symbol lookup error: {called}: undefined symbol: gone\n")


def test_the_trace(run: Callable[..., tuple[int, str]], arch: str) -> None:
    """The lines about the program; with --interp its own ld.so writes them."""
    name = "./cave" if arch != "x86_64" else "cave"

    def lines(*options: str) -> list[str]:
        status, said = run(name, options=("--trace=libs", *options))
        assert status == 0
        return [
            line
            for line in re.sub(r"^ *\d+:\t", "", said, flags=re.MULTILINE).splitlines()
            if re.search(r"needed by|RUNPATH|initialize program|transferring control", line)
        ]

    assert lines() == lines("--interp")
    assert f"initialize program: {name}" in lines()


def test_a_preload_that_is_missing(run: Callable[..., tuple[int, str]]) -> None:
    for options in ((), ("--interp",)):
        status, said = run("./cave", options=("--preload=./libnone.so", *options))
        assert status == 0
        assert "object './libnone.so' from " in said

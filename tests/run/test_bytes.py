"""A program that is in no file: ``rtld run -`` and ``rtld.run``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rtld
from run.conftest import Done

HOW = [[], ["--interp"]]


def piped(rtld_command: list[str], program: bytes, *words: str, without: str = "") -> Done:
    prefix = without.split()
    return subprocess.run(
        [*prefix, *rtld_command, "run", *words],
        input=program,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("how", HOW)
def test_from_standard_input(
    rtld_command: list[str], build: Callable[..., Path], tmp_path: Path, how: list[str]
) -> None:
    echo = Path("/bin/echo").read_bytes()
    done = piped(rtld_command, echo, *how, "-", "a", "b  c")
    assert (done.stdout, done.stderr, done.returncode) == (b"a b  c\n", b"", 0)
    # Nothing is left for it to read.
    assert piped(rtld_command, Path("/bin/cat").read_bytes(), *how, "-").stdout == b""
    library = build("library.c", "liblibrary.so", "-shared", "-fPIC")
    program = build("program.c", "program", str(library), "-no-pie", "-fno-pic")
    native = subprocess.run(
        [program],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    done = piped(
        rtld_command,
        program.read_bytes(),
        *how,
        "--library-path",
        str(tmp_path),
        "--argv0",
        str(program),
        "-",
    )
    assert done.returncode == native.returncode


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("without", ["", "setpriv --bounding-set=-all --inh-caps=-all"])
def test_the_name_of_what_runs(rtld_command: list[str], how: list[str], without: str) -> None:
    """With and without the capability to set it."""
    readlink = Path("/usr/bin/readlink").read_bytes()
    for name in ("r", "a-name-that-is-longer-than-the-path-of-any-descriptor"):
        done = piped(
            rtld_command, readlink, *how, "--argv0", name, "-", "/proc/self/exe", without=without
        )
        assert done.stdout == f"/memfd:{name} (deleted)\n".encode(), done.stderr


@pytest.mark.parametrize("how", HOW)
def test_a_static_program(
    rtld_command: list[str], cc: Callable[..., Path], tmp_path: Path, how: list[str]
) -> None:
    source = tmp_path / "static.c"
    source.write_text(
        '#include <stdio.h>\nint main(int n, char **a) { printf("%d %s\\n", n, a[n - 1]); return 5; }\n'
    )
    program = cc(source, "static", "-static")
    done = piped(rtld_command, program.read_bytes(), *how, "-", "x")
    assert (done.stdout, done.returncode) == (b"2 x\n", 5)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"", "neither an ELF file nor"),
        (b"\x7fELF" + bytes(60), "EI_CLASS"),
        (b"#!/bin/sh\necho\n", "a script"),
    ],
)
def test_what_is_no_program(
    rtld_command: list[str], program: bytes, words: str, how: list[str]
) -> None:
    done = piped(rtld_command, program, *how, "-")
    assert done.returncode == 126
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_from_python(tmp_path: Path) -> None:
    """Statuses as subprocess gives them."""
    code = """
import rtld, sys
echo = open("/bin/echo", "rb").read()
sys.stdout.flush()
print(rtld.run(echo, ["echo", "bytes"]), rtld.run(bytearray(echo), ["echo", "kernel"], interp=True), flush=True)
print(rtld.run("/bin/false"), rtld.run("/bin/sh", ["sh", "-c", "kill -9 $$"]), flush=True)
print(rtld.run("/usr/bin/env", ["env"], {"A": "1"}), rtld.run("/usr/bin/env", ["env"], {"A": "1"}, interp=True, lazy=False))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines == ["bytes", "kernel", "0 0", "1 -9", "A=1", "A=1", "LD_BIND_NOW=1", "0 0"]
    with pytest.raises(rtld.RtldError, match="No such file or directory"):
        rtld.run(tmp_path / "nothing")

"""``rtld run --trace`` beside LD_DEBUG: the same lines in the same order, of everything but ld.so's own look-ups.

Addresses and process numbers are masked. What docs/differences.md names is left out: the vdso's symbols, which ld.so looks up
for itself, its own malloc and the like, and members of the libc family that are opened late, which it opens by itself.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

WORDS = ("libs", "files", "bindings", "versions", "scopes", "symbols", "reloc")
# ld.so's own: its malloc (elf/dl-minimal.c, __rtld_malloc_init_real), the vdso (sysdeps/unix/sysv/linux/dl-vdso-setup.c).
_MALLOC = ("calloc", "free", "malloc", "realloc")
_PID = re.compile(r"^ +\d+:\t", re.MULTILINE)


def normal(text: str) -> list[str]:
    """The lines of the trace, and those of the program, without what differs each time."""
    text = _PID.sub("\t", text)
    return re.sub(r"0x[0-9a-f]+", "0x", text).splitlines()


def without_the_loaders_own(lines: list[str]) -> list[str]:
    """Leave out what only ld.so can look up."""
    kept: list[str] = []
    skip = False
    for line in lines:
        if line.startswith("\tobject=linux-vdso"):
            skip = True  # and its scopes
        if skip:
            skip = line != "\t"
        elif "vdso" not in line:
            kept.append(line)
    return _without_malloc(kept)


def _without_malloc(lines: list[str]) -> list[str]:
    """The last look-ups of these four before ld.so relocates itself."""
    name = re.compile(r"symbol[ =][`]?(\w+)")
    marks = [i for i, line in enumerate(lines) if "_dl_catch_exception" in line]
    if not marks:
        return lines
    end = start = marks[0]
    if lines[end - 1].startswith("\trelocation processing"):
        end = start = end - 2
    while start and (found := name.search(lines[start - 1])) and found[1] in _MALLOC:
        start -= 1
    return lines[:start] + lines[end:]


def trace(command: list[str], word: str, place: Path, ours: list[str] | None) -> list[str]:
    """A run's lines, in a file: some programs close stderr before their termination functions are called."""
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(place)}
    output = place / "trace"
    if ours is None:
        env |= {"LD_DEBUG": word, "LD_BIND_NOW": "1", "LD_DEBUG_OUTPUT": str(output)}
    else:
        env |= {k: os.environ[k] for k in ("PYTHONPATH", "VIRTUAL_ENV") if k in os.environ}
        options = ["--env", "LD_BIND_NOW=1", f"--trace={word}", "--trace-output", str(output)]
        command = [*ours, "run", *options, "--", *command]
    done = subprocess.run(
        command, cwd=place, env=env, capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (written,) = place.glob("trace*")  # ld.so appends its process number
    text = written.read_text()
    written.unlink()
    return normal(text)


def told_on_stderr(
    command: list[str], word: str, place: Path, ours: list[str] | None, *, lazy: bool = False
) -> list[str]:
    """The same between what the program itself says there: everything is told at the right moment."""
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    if ours is None:
        env |= {"LD_DEBUG": word} if lazy else {"LD_DEBUG": word, "LD_BIND_NOW": "1"}
    else:
        env |= {k: os.environ[k] for k in ("PYTHONPATH", "VIRTUAL_ENV") if k in os.environ}
        how = ["--lazy"] if lazy else ["--env", "LD_BIND_NOW=1"]
        command = [*ours, "run", *how, f"--trace={word}", "--", *command]
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return normal(done.stderr)


@pytest.fixture
def traced(build: Callable[..., Path], tmp_path: Path) -> list[str]:
    """A program that opens, looks up and closes."""
    shared = ("-shared", "-fPIC", "-Wl,-z,lazy")
    build("traced_plugin.c", "one.so", *shared, '-DNAME="one"')
    build("traced_plugin.c", "two.so", *shared, '-DNAME="two"', "-Wl,-Bsymbolic")
    build("traced_plugin.c", "three.so", *shared, '-DNAME="three"', "-DBORROWS")
    build("traced.c", "traced", "-rdynamic", "-Wl,-z,lazy")
    return ["./traced"]


@pytest.mark.parametrize("word", WORDS)
def test_told_as_it_happens(
    traced: list[str], rtld_command: list[str], tmp_path: Path, word: str
) -> None:
    theirs = without_the_loaders_own(told_on_stderr(traced, word, tmp_path, None))
    assert told_on_stderr(traced, word, tmp_path, rtld_command) == theirs


@pytest.mark.parametrize("word", ["bindings", "symbols", "reloc"])
def test_lazily(traced: list[str], rtld_command: list[str], tmp_path: Path, word: str) -> None:
    """Each function is told of when it is called first; but not libc's own, which ld.so binds."""
    own = re.compile(
        r"symbol=(_dl_|__tunable)|\tbinding file /lib/x86_64-linux-gnu/libc.so.6 .* `(_dl_|__tun)"
    )

    def known(lines: list[str]) -> list[str]:
        return [line for line in lines if not own.match(line.replace("\tsymbol", "symbol"))]

    theirs = known(without_the_loaders_own(told_on_stderr(traced, word, tmp_path, None, lazy=True)))
    assert known(told_on_stderr(traced, word, tmp_path, rtld_command, lazy=True)) == theirs


PROGRAMS = {
    "ls": ["/bin/ls", "/"],
    "git": ["/usr/bin/git", "--version"],
    "python": ["/usr/bin/python3", "-S", "-c", "import zlib, json, _ssl, _ctypes, _sqlite3"],
    "perl": ["/usr/bin/perl", "-MPOSIX", "-MSocket", "-MList::Util", "-e", "print floor(1.5)"],
    "curl": ["/usr/bin/curl", "--version"],
}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_lines_are_those_of_ld_so(
    rtld_command: list[str],
    tmp_path: Path,
    program: str,
    word: str,
    require: Callable[[str], None],
) -> None:
    command = PROGRAMS[program]
    if not os.path.exists(command[0]):
        require(command[0])
    theirs = without_the_loaders_own(trace(command, word, tmp_path, None))
    assert trace(command, word, tmp_path, rtld_command) == theirs

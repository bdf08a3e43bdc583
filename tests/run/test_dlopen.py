"""What a program asks of its dynamic linker while it runs is answered as ld.so would."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("options", [(), ("--lazy",), ("--now",), ("--no-aslr",), ("--seed", "7")])
def test_the_whole_family(
    build: Callable[..., Path], same: Callable[..., object], options: tuple[str, ...]
) -> None:
    for number in range(4):
        build(
            "plugin.c",
            f"plugin{number}.so",
            "-shared",
            "-fPIC",
            f"-DN={number}",
            *(["-DINITIAL_EXEC"] if number == 0 else []),
        )
    build("plugin.c", "described.so", "-shared", "-fPIC", "-DN=40", "-mtls-dialect=gnu2")
    build("asks.c", "asks.so", "-shared", "-fPIC")
    build("deep.c", "deep.so", "-shared", "-fPIC")
    program = build("dlopen_all.c", "dlopen_all", "-rdynamic", "-pthread")
    same([f"./{program.name}"], *options)


def test_a_program_of_musl(build: Callable[..., Path], same: Callable[..., object]) -> None:
    build("plugin.c", "plugin.so", "-shared", "-fPIC", "-DN=3", libc="musl")
    library = build("library.c", "liblibrary.so", "-shared", "-fPIC", libc="musl")
    program = build(
        "program.c",
        "program",
        str(library),
        "-Wl,-rpath,$ORIGIN",
        "-Wl,--no-as-needed",
        libc="musl",
    )
    same([f"./{program.name}"], env={"LD_LIBRARY_PATH": "."})


def test_the_same_of_glibc(build: Callable[..., Path], same: Callable[..., object]) -> None:
    build("plugin.c", "plugin.so", "-shared", "-fPIC", "-DN=3")
    library = build("library.c", "liblibrary.so", "-shared", "-fPIC")
    program = build(
        "program.c", "program", str(library), "-Wl,-rpath,$ORIGIN", "-no-pie", "-fno-pic"
    )
    same([f"./{program.name}", "argument"], env={"LD_LIBRARY_PATH": "."})


def test_unwinding(build: Callable[..., Path], same: Callable[..., object]) -> None:
    program = build("unwinding.cc", "unwinding", "-O1", "-pthread")
    same([f"./{program.name}"])


def wait_for(path: Path) -> str:
    for _ in range(400):
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.02)
    return "nothing"


def orphan(build: Callable[..., Path]) -> Path:
    return build("orphan.c", "orphan", "-fno-builtin", "-Wl,-z,lazy", "-lm")


def test_who_outlives_the_program(
    build: Callable[..., Path], rtld_command: list[str], tmp_path: Path
) -> None:
    """A daemon is answered by what the linker has left behind for it."""
    flag, result = tmp_path / "flag", tmp_path / "result"
    command = [*rtld_command, "run", "--lazy", str(orphan(build)), str(flag), str(result)]
    done = subprocess.run(command, check=False, timeout=30, capture_output=True)
    assert done.returncode == 0
    flag.touch()
    assert wait_for(result) == "27 1\n"


def test_who_outlives_the_linker(
    build: Callable[..., Path], rtld_command: list[str], tmp_path: Path
) -> None:
    """When nobody answers, slots are filled from a table, and libc's own dlopen opens libraries."""
    flag, result = tmp_path / "flag", tmp_path / "result"
    command = [*rtld_command, "run", "--lazy", str(orphan(build)), str(flag), str(result), "wait"]
    with subprocess.Popen(command) as ours:
        time.sleep(1)
        ours.kill()
    flag.touch()
    assert wait_for(result) == "64 1\n"

"""What a program asks of its dynamic linker while it runs is answered as ld.so would."""

from __future__ import annotations

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


def test_who_outlives_the_linker(
    build: Callable[..., Path], rtld_command: list[str], tmp_path: Path
) -> None:
    """A daemon's slots are filled and its libraries opened by what was left in its memory."""
    import subprocess
    import time

    program = build("orphan.c", "orphan", "-fno-builtin", "-Wl,-z,lazy", "-lm")
    flag, result = tmp_path / "flag", tmp_path / "result"
    done = subprocess.run(
        [*rtld_command, "run", "--lazy", str(program), str(flag), str(result)],
        check=False,
        timeout=30,
    )
    assert done.returncode == 0
    flag.touch()
    for _ in range(200):
        if result.exists() and result.read_text():
            break
        time.sleep(0.05)
    assert result.read_text() == "27 1\n"

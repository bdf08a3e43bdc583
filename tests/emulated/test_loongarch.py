"""LoongArch64: linked, explained, run by qemu-user. The files are of our own making; qemu-loongarch64 is the judge."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import rtld
from emulated import loongarch


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return loongarch.write_program(tmp_path)


def test_linked(program: Path) -> None:
    """Places and values of every relocation type that is there."""
    link = rtld.link(str(program), sysroot="/")
    main, library = link.modules[:2]
    data = main.image.view(0x8000, 24).tobytes()
    words = [int.from_bytes(data[i : i + 8], "little") for i in (0, 8, 16)]
    # TPREL64: the library's is the only block; the thread pointer is its beginning.
    assert words == [library.base + 0x4000, library.base + 0x8000, 4]
    assert (
        int.from_bytes(library.image.view(0x8000, 8).tobytes(), "little") == library.base + 0x8010
    )
    assert link.relocation_counts[main] == {
        "R_LARCH_JUMP_SLOT": 1, "R_LARCH_64": 1, "R_LARCH_TLS_TPREL64": 1,
    }  # fmt: skip


def test_explained(program: Path, rtld_command: list[str]) -> None:
    done = subprocess.run(
        [*rtld_command, "why", "--sysroot=/", "--json", str(program), "twice"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "libtwice.so" in json.dumps(json.loads(done.stdout))
    done = subprocess.run(
        [*rtld_command, "tree", "--sysroot=/", str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "libtwice.so" in done.stdout


def test_run(program: Path, rtld_command: list[str], require: Callable[[str], None]) -> None:
    """There is no LoongArch libc here: everything is in the bundle, and nothing is left to an ld.so."""
    if shutil.which("qemu-loongarch64") is None:
        require("qemu-loongarch64")
    done = subprocess.run(
        [*rtld_command, "run", str(program)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("hello\n", 42), done.stderr
    assert "linked here, run by qemu-loongarch64" in done.stderr


def test_without_qemu(
    program: Path, rtld_command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    done = subprocess.run(
        [*rtld_command, "run", str(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 126
    assert "qemu-loongarch64 runs its programs" in done.stderr

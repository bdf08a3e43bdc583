"""``same``: a command natively and under ``rtld run``, in equal surroundings, with equal results."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
Done = subprocess.CompletedProcess[bytes]


def run(command: Sequence[str | Path], place: Path, env: Mapping[str, str]) -> Done:
    return subprocess.run(
        [os.fspath(word) for word in command],
        cwd=place,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(place), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def same(rtld_command: list[str], tmp_path: Path) -> Callable[..., Done]:
    """``same([program, arg], "--lazy", cwd=..., env={...})``: stdout, stderr and status are compared; returns our run."""
    ours_env = {
        name: os.environ[name] for name in ("PYTHONPATH", "VIRTUAL_ENV") if name in os.environ
    }
    # A traceback of the linker's would be on stderr, where it makes a difference.
    ours_env["RTLD_DEBUG"] = "1"

    def compare(
        command: Sequence[str | Path],
        *options: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        place = cwd or tmp_path
        native = run(command, place, dict(env or {}))
        settings = [
            part for name, value in (env or {}).items() for part in ("--env", f"{name}={value}")
        ]
        ours = run([*rtld_command, "run", *options, *settings, "--", *command], place, ours_env)
        assert ours.stderr == native.stderr
        assert ours.stdout == native.stdout
        assert ours.returncode == native.returncode
        return ours

    return compare


@pytest.fixture
def build(cc: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``build("name.c", "name.so", flags...)``: compiled from data/ into the test's own directory."""

    def make(source: str, output: str, *flags: str, libc: str = "glibc") -> Path:
        made = cc(DATA / source, output, *flags, libc=libc)
        target = tmp_path / output
        target.write_bytes(made.read_bytes())
        target.chmod(0o755)
        return target

    return make

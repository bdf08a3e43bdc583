"""``rtld run``: its own options and exit status. What runs, and how, is tested in tests/process."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(rtld_command: list[str]) -> Run:
    def call(*words: object) -> subprocess.CompletedProcess[str]:
        argv = [*rtld_command, "run", *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    return call


@pytest.mark.parametrize("how", [[], ["--interp"]])
def test_status_and_output(run: Run, how: list[str]) -> None:
    done = run(*how, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert run(*how, "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


@pytest.mark.parametrize("how", [[], ["--interp"]])
def test_environment(run: Run, how: list[str]) -> None:
    done = run(*how, "--env", "A=1", "--env", "B=two words", "sh", "-c", 'echo "$A $B"')
    assert done.stdout == "1 two words\n"


def test_options_end_at_the_program(run: Run) -> None:
    assert run("echo", "--help", "--lazy").stdout == "--help --lazy\n"


def test_what_cannot_be_run(run: Run, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"neither fish nor fowl")
    cases = [
        (tmp_path / "nothing", 127),
        ("no-such-command-anywhere", 127),
        (garbage, 126),
        (tmp_path, 126),
    ]
    for program, status in cases:
        done = run(program)
        assert done.returncode == status
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
    garbage.chmod(0o755)
    assert run(garbage).returncode == 126


def test_missing_library(run: Run, here: Path) -> None:
    done = run(here / "lost/app")
    assert done.returncode == 127
    assert "libtwo.so: cannot open shared object file: No such file or directory" in done.stderr
    assert run("--library-path", here, here / "lost/app").returncode == 4
    assert run("--interp", "--library-path", here, here / "lost/app").returncode == 4


def test_trace(run: Run, here: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = run("--trace=libs,bindings,statistics", "--trace-output", trace, here / "app")
    assert (done.returncode, done.stderr) == (4, "")
    text = trace.read_text()
    assert f"trying file={here}/libone.so" in text
    assert f"binding file {here}/app [0] to {here}/libone.so [0]: normal symbol `shared'" in text
    assert text.count("runtime linker statistics:") == 1
    assert "find library=libone.so" in run("--trace", here / "app").stderr

"""Fixtures of the command line's tests: ``rtld`` runs a command in this process, ``broken`` is a program with faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import Result, Rtld, lib
from rtld.cli import run


@pytest.fixture
def rtld(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Rtld:
    """``rtld("tree", path)``: its exit status, standard output and standard error."""
    for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: object) -> Result:
        capsysbinary.readouterr()
        status = run([str(word) for word in words])
        out, err = capsysbinary.readouterr()
        return Result(
            status, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape")
        )

    return call


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory, cc: Callable[..., Path]) -> Path:
    """A directory with small programs, some with faults.

    app needs libone.so (which needs libtwo.so) through RUNPATH $ORIGIN; lost is app without libtwo.so anywhere.
    """
    place = tmp_path_factory.mktemp("programs")
    two = cc(
        "int two(void) { return 2; } int shared(void) { return 2; }", "libtwo.so", *lib("libtwo.so")
    )
    one = cc(
        "int two(void); int shared(void) { return 1; } int one(void) { return two() + shared(); }",
        "libone.so", *lib("libone.so"), f"-L{two.parent}", "-ltwo", "-Wl,-rpath,$ORIGIN",
    )  # fmt: skip
    app = cc(
        "int one(void); int shared(void); int main(void) { return one() + shared(); }",
        "app", f"-L{one.parent}", f"-Wl,-rpath-link,{two.parent}", "-lone", "-Wl,-rpath,$ORIGIN",
    )  # fmt: skip
    for file in (one, two, app):
        (place / file.name).write_bytes(file.read_bytes())
        (place / file.name).chmod(0o755)
    lost = place / "lost"
    lost.mkdir()
    for file in (one, app):
        (lost / file.name).write_bytes(file.read_bytes())
        (lost / file.name).chmod(0o755)
    return place

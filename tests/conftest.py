"""Fixtures of all tests: ``cc`` compiles and remembers, ``golden`` compares with a committed text."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden with what is printed now"
    )


def require(tool: str) -> None:
    """The test cannot run without ``tool``: skipped, or failed where nothing may be missing (RTLD_REQUIRE=all)."""
    if os.environ.get("RTLD_REQUIRE") == "all":
        pytest.fail(f"{tool} is missing, and RTLD_REQUIRE=all", pytrace=False)
    pytest.skip(f"{tool} is missing")


@pytest.fixture(name="require")
def require_fixture() -> Callable[[str], None]:
    """``require("gdb")`` where a tool turned out to be missing."""
    return require


@pytest.fixture(scope="session")
def cc() -> Callable[..., Path]:
    """``cc(source, output, *flags, arch="x86_64", libc="glibc")``: the path of the compiled file.

    ``source`` is a path or the text itself; text is C unless ``output`` or a flag says otherwise (``-xassembler``,
    ``-xc++``). Compiled once per content, flags and compiler, and kept for the next run.
    """

    def compile_one(
        source: str | Path,
        output: str,
        *flags: str,
        arch: str = toolchain.HOST,
        libc: str = "glibc",
    ) -> Path:
        want = toolchain.target(arch, libc)
        cxx = "-xc++" in flags or (isinstance(source, Path) and source.suffix == ".cc")
        lacking = toolchain.missing(want, cxx=cxx, run=False)
        if lacking:
            require(lacking)
        compiler = want.cxx if cxx else want.cc
        text = source.read_text() if isinstance(source, Path) else source
        suffix = source.suffix if isinstance(source, Path) else ".c"
        loader = [f"-Wl,--dynamic-linker={want.interp}"] if want.interp else []
        language = [flag for flag in flags if flag.startswith("-x")]  # counts for what follows it
        rest = [flag for flag in flags if flag not in language]
        argv = [compiler, *language, f"source{suffix}", "-xnone", *loader, *rest, "-o", output]
        return (
            toolchain.compile_all(
                [text, toolchain.version_of(compiler), *argv],
                [toolchain.Step("file", f"source{suffix}", text), argv],
            )
            / output
        )

    return compile_one


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("tree/diamond.txt", text)``: equal to the committed file, or rewrite it with --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        assert path.exists(), (
            f"no {path}; make it with: pytest --update-golden -k {request.node.name}"
        )
        assert text == path.read_text()

    return check


@pytest.fixture(scope="session")
def rtld_command() -> list[str]:
    """The command line under test, whichever way the package is installed."""
    return [sys.executable, "-m", "rtld"]

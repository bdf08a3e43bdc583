"""docs/textbook.md: every command in it is run, and what it prints must stand there (--update-golden rewrites it).

A section is a test of its own, in a fresh copy of the example objects. A command is a line that begins with ``$``; what
follows it is its output, standard error included. ``rtld`` commands without shell syntax run in this process.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import toolchain
from rtld.cli import run
from textbook.bed import DATA

PAGE = Path(__file__).parents[2] / "docs" / "textbook.md"
SECTIONS = re.split(r"(?m)^(?=## )", PAGE.read_text())[1:]
BLOCK = re.compile(r"(?ms)^```console\n(.*?)^```\n")


class Terminal:
    """Runs one command after the other in a directory."""

    def __init__(self, directory: Path) -> None:
        self.status = 0
        tools = directory / ".bin"
        tools.mkdir()
        script = tools / "rtld"
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rtld "$@"\n')
        script.chmod(0o755)
        self.env = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "NO_COLOR": "1",
            "LC_ALL": "C",
        }
        source = str(Path(__file__).parents[2] / "src")
        self.env["PYTHONPATH"] = f"{source}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")

    def output(self, command: str) -> str:
        if command == "echo $?":
            return f"{self.status}\n"
        # What a program writes goes to descriptor 1, not to sys.stdout.
        here = command.startswith("rtld textbook ") and not command.startswith("rtld textbook run ")
        if here and not re.search("[|<>&;$'\"]", command):
            text = io.StringIO()
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                self.status = run(shlex.split(command)[1:])
            return text.getvalue()
        shell = ["bash", "-c", command]
        done = subprocess.run(
            shell,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        self.status = done.returncode
        return done.stdout


def commands(block: str) -> Iterator[str]:
    return (line[2:] for line in block.splitlines() if line.startswith("$ "))


def tools_of(section: str) -> set[str]:
    """What the commands of a section need, besides rtld."""
    words = {command.split()[0] for block in BLOCK.findall(section) for command in commands(block)}
    return {word for word in words if word in ("gcc", "i686-linux-gnu-gcc")}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0][3:])
def test_section(
    section: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    require: Callable[[str], None],
) -> None:
    for tool in tools_of(section):
        if shutil.which(tool) is None:
            require(tool)
    if "./hello.elf" in section and not toolchain.runs_here("i386"):
        require("a kernel that starts i386 programs")
    for path in DATA.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    terminal = Terminal(tmp_path)

    def rendered(match: re.Match[str]) -> str:
        lines = [f"$ {command}\n{terminal.output(command)}" for command in commands(match[1])]
        return f"```console\n{''.join(lines)}```\n"

    now = BLOCK.sub(rendered, section)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(PAGE.read_text().replace(section, now))
    else:
        assert now == section


def test_every_project_has_a_section() -> None:
    titles = " ".join(section.splitlines()[0] for section in SECTIONS)
    # fmt: off
    projects = ("3-1", "4-1", "4-2", "4-3", "5-1", "5-2", "5-3", "6:", "7-1", "7-2", "8-1", "8-2", "8-3", "9-1", "9-2",
                "10-1", "10-2", "11-1", "From C", "PLT", "plugh", "LD_BIND_NOW", "shared data")
    # fmt: on
    for project in projects:
        assert project in titles

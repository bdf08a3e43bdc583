"""What the architecture promises and import-linter cannot see."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rtld

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "rtld").rglob("*.py"))
SILENT = ("core", "arch", "elf", "pe", "textbook", "backends", "process")

# What costs more than it gives on the way to `rtld tree`: imports in milliseconds, measured.
HEAVY = {"numpy", "typing", "dataclasses", "inspect", "pathlib", "enum", "logging", "subprocess"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_it_is(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree) or not tree.body
    if len(tree.body) > 1:  # more than the docstring
        assert "from __future__ import annotations" in path.read_text()


def test_only_the_command_line_prints() -> None:
    found = []
    for path in SOURCES:
        if path.relative_to(ROOT / "src" / "rtld").parts[0] in SILENT:
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno}"
                for node in ast.walk(tree_of(path))
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "print"
            ]
    assert found == []


def test_public_names() -> None:
    names = [name for name in rtld.__all__ if not name.startswith("__")]
    assert set(names) == set(rtld._PUBLIC)
    for name in names:
        assert getattr(rtld, name) is not None
        assert name in dir(rtld)


def imported_by(statement: str) -> set[str]:
    """Top-level modules that are there after ``statement`` and not in a bare interpreter (-S: no site)."""

    def modules(code: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; {code}; print(*sys.modules)"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=True,
        )
        return {name.partition(".")[0] for name in done.stdout.split()}

    return modules(statement) - modules("pass")


@pytest.mark.parametrize(
    "module",
    ["rtld", "rtld.errors", "rtld.events", "rtld.core.module", "rtld.elf.file", "rtld.elf.search"],
)
def test_what_tree_imports_is_small(module: str) -> None:
    assert imported_by(f"import {module}") & HEAVY == set()


def test_no_word_about_a_machine() -> None:
    """Paths of somebody's machine have no place in the sources."""
    pattern = re.compile(r"/(?:home|Users)/\w")
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not pattern.search(line), f"{path}:{number}"

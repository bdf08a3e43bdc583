"""docs/dlopen.md: what it shows runs as it is written."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtld

PAGE = Path(__file__).parents[2] / "docs" / "dlopen.md"


def blocks(heading: str) -> list[str]:
    """The indented blocks of a section."""
    text = PAGE.read_text()
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ")[0]
    found = re.findall(r"(?:^(?: {4}.*)?\n)+", section, re.MULTILINE)
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in found if block.strip()]


def run(code: str, names: dict[str, Any]) -> None:
    """Statement by statement; the exception that a comment names has to come."""
    at = 0
    lines = code.split("\n")
    while at < len(lines):
        end = at + 1
        while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
            end += 1
        statement = "\n".join(lines[at:end])
        expected = re.search(r"#\s+(?:rtld\.)?([A-Z]\w+): \.\.\.(.*)$", lines[at])
        if expected:
            error = getattr(rtld, expected[1])
            with pytest.raises(error) as caught:
                exec(compile(statement, str(PAGE), "exec"), names)
            assert expected[2].strip() in str(caught.value)
        else:
            exec(compile(statement, str(PAGE), "exec"), names)
        at = end


def test_tour() -> None:
    """In a process where nothing else has been opened, for it asks why a library is there."""
    pytest.importorskip("pycparser")
    code = "from dlfcn.test_tour import tour; tour()"
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def tour() -> None:
    code = "\n".join(blocks("A tour"))
    names: dict[str, Any] = {}
    run(code, names)
    assert names["z"].closed
    assert names["why"] == ["opened 1 time"]
    assert names["checksum"] == 0x352441C2
    assert names["ns"].closed
    assert names["a"].closed


def test_hooks(lib: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    source = '#include <fcntl.h>\nint f(void) { return open("/dev/null", O_RDONLY); }'
    path = lib(source)
    names: dict[str, Any] = {"rtld": rtld}
    (code,) = blocks("Hooks")
    run(code, names)
    library = names["ns"].dlopen(path)
    assert library.f() == names["answer"]
    assert capsys.readouterr().out.startswith("open ")
    fake = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int)(lambda _p, _f: -5)
    with rtld.Namespace() as plain:
        again = plain.dlopen(path)
        undo = again.interpose("open", fake)
        assert again.f() == -5
        undo()
        assert again.f() >= 0
    names["ns"].close()

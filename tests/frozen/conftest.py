"""Fixtures of the tests of frozen images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def build(cc: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``build(name, text, *flags)`` compiles into one directory, with it as run path."""

    def one(name: str, text: str, *flags: str) -> Path:
        out = tmp_path / name
        shared = ["-shared", "-fPIC"] if ".so" in name else []
        place = [f"-L{tmp_path}", f"-Wl,-rpath,{tmp_path}", "-Wl,--no-as-needed"]
        made = cc(text, name, *shared, *place, *flags)
        out.write_bytes(made.read_bytes())
        out.chmod(0o755)
        return out

    return one

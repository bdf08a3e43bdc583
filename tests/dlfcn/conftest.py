"""Fixtures of the tests that load libraries into this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="loads x86-64 libraries")


@pytest.fixture(scope="session")
def lib(cc: Callable[..., Path]) -> Callable[..., str]:
    """``lib(source, *flags)``: the path of a shared library made of C, or of C++ with ``-xc++``."""

    def build(source: str, *flags: str, name: str = "libtest.so") -> str:
        return str(cc(source, name, "-shared", "-fPIC", "-O1", "-pthread", *flags))

    return build


@pytest.fixture(scope="session")
def both() -> Callable[..., tuple[str, str]]:
    """``both(script, *args)``: what a script prints in fresh processes, with ``CDLL`` the system's, then ours."""

    def run(script: str, *args: str, env: dict[str, str] | None = None) -> tuple[str, str]:
        said = []
        for head in ("from ctypes import CDLL\n", "import rtld\nCDLL = rtld.dlopen\n"):
            done = subprocess.run(
                [sys.executable, "-X", "faulthandler", "-c", head + script, *args],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                env={**os.environ, **(env or {})},
            )
            said.append(
                f"{done.stdout}[{done.returncode}]" + (done.stderr if done.returncode else "")
            )
        return said[0], said[1]

    return run

"""The preloads that keep a program from being run (stop.c)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain

SOURCE = Path(__file__).with_name("stop.c")
FLAGS = ("-shared", "-fPIC", "-nostdlib", "-O1")


@pytest.fixture(scope="session")
def halt(cc: Callable[..., Path]) -> str:
    """Initialisers run, then the process ends."""
    if toolchain.HOST != "x86_64":
        pytest.skip("stop.c is for x86-64")
    return str(cc(SOURCE, "halt.so", *FLAGS, "-Wl,-soname,halt.so"))


@pytest.fixture(scope="session")
def stop(cc: Callable[..., Path]) -> str:
    """The process stops when everything is relocated and nothing is initialised."""
    if toolchain.HOST != "x86_64":
        pytest.skip("stop.c is for x86-64")
    return str(cc(SOURCE, "stop.so", *FLAGS, "-DSTOP", "-Wl,-z,initfirst", "-Wl,-soname,stop.so"))

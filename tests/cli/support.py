"""What the tests of the command line share besides fixtures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import rtld as package


class Result(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


Rtld = Callable[..., Result]


def lib(soname: str) -> tuple[str, ...]:
    """Flags of a shared library."""
    return ("-shared", "-fPIC", f"-Wl,-soname,{soname}")


def environment() -> dict[str, str]:
    """For ``python -S``, which leaves out site-packages and what is imported from there at start."""
    source = os.path.dirname(os.path.dirname(package.__file__))
    return {**os.environ, "PYTHONPATH": source}

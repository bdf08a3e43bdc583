"""A machine with a C library for each CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

import toolchain
from dlfcn.foreign import sysroots
from rtld.dlfcn.foreign.namespace import ForeignNamespace


@pytest.fixture(params=sysroots.CPUS)
def cpu(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def debian(cpu: str, require: Callable[[str], None]) -> Iterator[ForeignNamespace]:
    """With Debian's packages."""
    root = sysroots.debian(cpu)
    if root is None:
        require("Debian's package archive")
    assert root is not None
    with ForeignNamespace(root, seconds=60) as namespace:
        yield namespace


@pytest.fixture
def machine(cpu: str, require: Callable[[str], None]) -> Iterator[ForeignNamespace]:
    """With the C library that the compiler links against."""
    root = sysroots.debian_or_cross(cpu)
    if root is None or not os.path.isdir(root):
        require(toolchain.target(cpu).cc)
    assert root is not None
    with ForeignNamespace(root, seconds=60) as namespace:
        yield namespace

"""Fixtures of the tests of Windows programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pe import windows


@pytest.fixture(scope="session")
def need() -> Callable[[str], None]:
    """Ends the test for the lack of a tool."""

    def missing(tool: str) -> None:
        if os.environ.get("RTLD_REQUIRE") == "all":
            pytest.fail(f"{tool} is missing, and RTLD_REQUIRE=all", pytrace=False)
        pytest.skip(f"{tool} is missing")

    return missing


@pytest.fixture(scope="session")
def windows_set(need: Callable[[str], None]) -> Callable[..., Path]:
    """``windows_set("x86_64")``: the directory with main.exe and its DLLs."""

    def make(arch: str, *flags: str) -> Path:
        return windows.build_set(arch, need, *flags)

    return make

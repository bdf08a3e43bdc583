"""Every binding of installed programs, against ld.so's own account (LD_DEBUG=bindings); nothing is started."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from exact import compare
from live.sample import SPREAD, programs

pytestmark = pytest.mark.live


@pytest.mark.parametrize("program", programs())
def test_modules_order_and_bindings(program: str, require: Callable[[str], None]) -> None:
    if not os.path.exists(program):
        require(program)
    result = compare(program)
    assert result.modules_differ == []
    assert result.missing == []
    assert result.extra == []
    assert result.undefined == []
    assert result.bindings > 0 or program.endswith("ld.so")


def test_the_sample_is_large_enough(require: Callable[[str], None]) -> None:
    if len(programs()) < SPREAD:
        require(f"{SPREAD} dynamic programs; there are only {len(programs())}: some")

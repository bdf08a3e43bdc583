"""Every binding of random closures equals ld.so's, on this CPU and, under qemu-user, on others."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import exact
import oracle
import toolchain
from elf import torture
from rtld.process.link import link

CLOSURES = 24


@pytest.mark.parametrize("pie", [True, False], ids=["pie", "fixed"])
@pytest.mark.parametrize("seed", range(CLOSURES))
def test_random_closures(seed: int, pie: bool, require: Callable[[str], None]) -> None:
    want = toolchain.target()
    lacking = toolchain.missing(want)
    if lacking:
        require(lacking)
    result = exact.compare(str(torture.build(seed, want, pie=pie)))
    assert result.modules_differ == []
    assert result.missing == []
    assert result.extra == []
    assert result.undefined == []


FOREIGN = [name for name, t in toolchain.TARGETS.items() if t.libc == "glibc" and not t.native]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("seed", range(100, 103))
def test_random_closures_of_other_machines(
    seed: int, name: str, require: Callable[[str], None]
) -> None:
    want = toolchain.TARGETS[name]
    lacking = toolchain.missing(want)
    if lacking:
        require(lacking)
    program = str(torture.build(seed, want, pie=seed % 2 == 0, unique=want.arch != "mips64el"))
    env = toolchain.environment(want)
    prefix = [] if toolchain.runs_here(want.arch) else [want.qemu]
    theirs = oracle.trace(program, env, prefix)
    ours = link(program, env=env, relocated=False)
    loader = os.path.realpath(want.interp)

    def row(referrer: str, definer: str, symbol: str, version: str | None) -> tuple[str, ...]:
        return (os.path.realpath(referrer), os.path.realpath(definer), symbol, version or "")

    expected = {row(b.referrer, b.definer, b.symbol, b.version) for b in theirs.bindings}
    got = {row(r, d, s, v) for r, d, s, v, _kind in ours.bindings() if d is not None}
    assert len(expected) > 20
    assert sorted(r for r in expected - got if r[0] != loader) == []
    assert sorted(r for r in got - expected if r[0] != loader) == []

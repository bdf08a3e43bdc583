"""The order of initialisers of installed programs, against LD_DEBUG=files.

Initialisers do run, so a preload ends the process before main(): no program needs to be harmless.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import oracle
from live.sample import programs
from rtld.core.module import Module
from rtld.elf import types as t
from rtld.process.link import find

pytestmark = pytest.mark.live


def has_initialisers(module: Module) -> bool:
    """ld.so names these; glibc 2.36 names every module, others do not (elf/dl-init.c: call_init)."""
    dynamic = module.file.dynamic
    return dynamic is not None and (t.DT_INIT in dynamic or t.DT_INIT_ARRAY in dynamic)


def compare(program: str, halt: str, tunables: str = "") -> int:
    env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": halt, "HOME": "/nonexistent"}
    if tunables:
        env["GLIBC_TUNABLES"] = tunables
    theirs = [os.path.realpath(path) for path in oracle.ld_init_order(program, env=env)]
    link = find(program, env=env)
    # The program's own are called by libc's start code, not by ld.so.
    ours = [module for module in link.init_order if module is not link.modules[0]]
    assert link.init_order[-1] is link.modules[0]
    paths = {module: os.path.realpath(module.path) for module in ours}
    assert theirs == [paths[m] for m in ours if has_initialisers(m) or paths[m] in theirs]
    return len(theirs)


@pytest.mark.parametrize("program", programs())
def test_initialisers(program: str, halt: str, require: Callable[[str], None]) -> None:
    if not os.path.exists(program):
        require(program)
    # libc has some everywhere.
    assert compare(program, halt) >= 1


@pytest.mark.parametrize("program", programs()[:12])
def test_initialisers_in_the_older_order(
    program: str, halt: str, require: Callable[[str], None]
) -> None:
    if not os.path.exists(program):
        require(program)
    assert compare(program, halt, "glibc.rtld.dynamic_sort=1") >= 1

"""The short way for small libraries stores the same bytes as the column passes."""

from __future__ import annotations

import ctypes
import glob
import os

import numpy as np
import pytest

import rtld
from rtld.backends import inprocess as machine
from rtld.elf.small import GiveUp
from rtld.errors import RtldError
from rtld.process.inprocess_load import Loading

LIBRARIES = sorted(
    {os.path.realpath(path) for path in glob.glob("/usr/lib/x86_64-linux-gnu/lib*.so.*")}
)


def relocated(ns: rtld.Namespace, path: str, quick: bool) -> tuple[dict[str, bytes], bool]:
    """Writable bytes of the group's modules, as differences from their own base; and whether the short way was gone."""
    space = ns._space
    space.quick = quick
    loading = Loading(space, 2)
    loading.find(path, space.ns.main)
    loading.map()
    try:
        loading.relocate()
        loading.resolve_ifuncs()
        result = {}
        for module in loading.own:
            for load in module.file.loads:
                if load.flags & 2:
                    start = load.vaddr + 7 & -8
                    size = max(load.vaddr + load.memsz - start, 0) // 8 * 8
                    result[f"{module.path} {start:#x}"] = ctypes.string_at(
                        module.base + start, size
                    )
        bases = {module.path: (module.base, module.file.span[1]) for module in loading.own}
        return {
            name: _rebase(data, list(bases.values())) for name, data in result.items()
        }, loading.link is not None
    finally:
        loading.undo()


def _rebase(data: bytes, ranges: list[tuple[int, int]]) -> bytes:
    words = np.frombuffer(data, np.uint64)
    result = words.copy()
    for number, (base, size) in enumerate(ranges):
        inside = (words >= base) & (words < base + size)
        result[inside] = words[inside] - np.uint64(base) + np.uint64(number << 48)
    return result.tobytes()


@pytest.mark.live
def test_same_bytes() -> None:
    quickly = 0
    ns = rtld.Namespace()
    for path in LIBRARIES[::7]:
        try:
            short, used = relocated(ns, path, True)
        except (RtldError, OSError, GiveUp):
            continue
        if not used:
            continue
        long, _ = relocated(ns, path, False)
        if short != long:
            # Where ld.so puts thread-local storage depends on what was opened and closed before.
            short, _ = relocated(ns, path, True)
        assert short == long, path
        quickly += 1
    assert quickly >= min(5, len(LIBRARIES) // 50)
    assert machine.libc is not None

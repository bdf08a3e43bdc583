"""Real pieces of work are identical under ``rtld run``; ``data/*.sh`` has them, ``harness.py`` says how they are run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from work.harness import REQUIRED, Bench, Piece, differences, pieces

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        toolchain.HOST != "x86_64", reason="programs are linked and run on x86-64 only"
    ),
]


def _cases() -> list[object]:
    return [
        pytest.param(piece, id=piece.name, marks=[pytest.mark.slow] if piece.slow else [])
        for piece in pieces()
    ]


@pytest.mark.parametrize("piece", _cases())
def test_work(piece: Piece, tmp_path: Path, require: Callable[[str], None]) -> None:
    if piece.slow and not os.environ.get("RTLD_SLOW"):
        pytest.skip("slow; RTLD_SLOW=1 runs it")
    missing = piece.missing()
    if REQUIRED.intersection(missing):
        require(" ".join(missing))
    if missing:
        pytest.skip(f"{' '.join(missing)} not installed")
    bench = Bench(piece, tmp_path)
    bench.prepare()
    told = []
    for options in piece.options:
        found = compare(bench, options)
        if found:
            told += [f"rtld run {options}".rstrip() + ":", *found]
    assert not told, "\n" + "\n".join(told)


def compare(bench: Bench, options: str) -> list[str]:
    """What differs in each of three pairs of runs: job control and the like depend on time, on a busy machine too much."""
    found: list[str] = []
    for _ in range(3):
        found = differences(bench.native(), bench.under(options))
        if not found:
            break
    return found

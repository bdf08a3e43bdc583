"""Random graphs of libraries with cycles, opened, called and closed by scripts in a live child: the order is ld.so's.

The graphs, and the program that works off the scripts in forked children, are those of ``tests/dlfcn/test_graphs.py``.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dlfcn import test_graphs as graphs

BATCH = int(os.environ.get("RTLD_RUN_GRAPHS", "12"))


@pytest.mark.parametrize("options", [[], ["--lazy"]], ids=["early", "lazy"])
def test_order_is_that_of_ld_so(
    rtld_command: list[str], tmp_path: Path, options: list[str]
) -> None:
    graphs.prepare(tmp_path)
    lines = []
    for seed in range(1000, 1000 + BATCH):
        rng = random.Random(seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        count = graphs.build(tmp_path, directory, rng)
        lines += [f"{directory} {graphs.make_script(count, rng)}" for _ in range(graphs.SCRIPTS)]
    program = [sys.executable, "-c", graphs.DRIVER, "theirs"]

    def run(command: list[str]) -> list[str]:
        done = subprocess.run(
            command,
            input="\n".join(lines),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    theirs, ours = run(program), run([*rtld_command, "run", *options, "--", *program])
    assert len(theirs) == len(lines)
    assert [row for row in zip(lines, theirs, ours, strict=True) if row[1] != row[2]] == []
    assert sum(line.count(" -") for line in ours) > BATCH

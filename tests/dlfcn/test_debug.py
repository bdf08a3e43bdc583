"""gdb's JIT interface and perf's map file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

SCRIPT = """
import os, signal, sys, rtld
from rtld.dlfcn import debugging
debugging(perf=True)
for _ in range(2):
    library = rtld.dlopen(sys.argv[1]); where = library.address("recognised")
    if _ == 0: library.close()
print("at", hex(where), open(f"/tmp/perf-{os.getpid()}.map").read().count("recognised"), flush=True)
os.unlink(f"/tmp/perf-{os.getpid()}.map")
signal.raise_signal(signal.SIGTRAP)
"""


def test_gdb_and_perf(lib: Callable[..., str], require: Callable[[str], None]) -> None:
    if not shutil.which("gdb"):
        require("gdb")
    path = lib("int recognised(void) { return 1; }")
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex", "info address recognised",
         "--args", sys.executable, "-c", SCRIPT, path],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("at "))
    _at, where, count = line.split()
    assert count == "2"
    assert f'Symbol "recognised" is at {where}' in done.stdout

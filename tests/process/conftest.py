"""``run_native`` and ``run_ours``: the same command line by the kernel and by us, with everything it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import rtld

# Ends as the program ends.  "over", "self", "ptrace": the ways of exec.py; "replace": become the program.
DRIVER = """
import json, os, sys
options = json.load(open(sys.argv[1]))
os.unlink(sys.argv[1])
from rtld.process import kernel
from rtld.process.live.foreground import die_like
how = options.pop("how")
if options.pop("no_ptrace", False):
    import ctypes, struct
    libc = ctypes.CDLL(None)
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, 101), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
    filter = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *c) for c in code))
    program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(filter))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
if how == "over":
    kernel.can_set_exe = lambda: False
if how == "image":
    options["program"] = open(options["program"], "rb").read()
try:
    if how == "replace":
        kernel.replace_program(**options)
    if how in ("self", "ptrace"):
        options["method"] = how
    status = kernel.run_program(**options)
except kernel.CannotRun as error:
    print("rtld:", error, file=sys.stderr)
    sys.exit(error.status)
die_like(status)
"""

SMALL_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
Runner = Callable[..., "subprocess.CompletedProcess[bytes]"]


def driver_command(
    argv: Sequence[str], how: str = "auto", env: Mapping[str, str] | None = None, **options: Any
) -> list[str]:
    """What to execute so that *argv* runs under our loader; argv[0] is the path too."""
    options.setdefault("program", argv[0])
    options |= {"argv": list(argv), "env": dict(SMALL_ENV if env is None else env), "how": how}
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(options, file)
    return [sys.executable, "-c", DRIVER, file.name]


def driver_env() -> dict[str, str]:
    """The environment for the driver itself, so that it finds the package under test."""
    source = str(Path(next(iter(rtld.__path__))).parent)
    return {**os.environ, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def run_ours() -> Runner:
    """``run_ours(argv, how="self", env=..., input=..., **options of run_program)``"""

    def run(
        argv: Sequence[str],
        how: str = "auto",
        env: Mapping[str, str] | None = None,
        *,
        process: Mapping[str, Any] | None = None,
        prefix: Sequence[str] = (),
        **options: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        command = [*prefix, *driver_command(argv, how, env, **options)]
        more: dict[str, Any] = {"stdin": subprocess.DEVNULL} | dict(process or {})
        return subprocess.run(
            command, capture_output=True, check=False, timeout=60, env=driver_env(), **more
        )

    return run


@pytest.fixture(scope="session")
def run_native() -> Runner:
    """``run_native(argv, env=...)``: the same by the kernel."""

    def run(
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        process: Mapping[str, Any] | None = None,
        prefix: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[bytes]:
        more: dict[str, Any] = {"stdin": subprocess.DEVNULL} | dict(process or {})
        env = dict(SMALL_ENV if env is None else env)
        return subprocess.run(
            [*prefix, *argv], capture_output=True, check=False, timeout=60, env=env, **more
        )

    return run

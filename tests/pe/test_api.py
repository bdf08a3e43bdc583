"""Functions of the system's DLLs: what programs say that call them is what they say under Wine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import environment
from pe import windows

Need = Callable[[str], None]
SOURCES = Path(__file__).parent / "api"
#: source -> libraries
PROGRAMS = {
    "files": (),
    "mapping": (),
    "threads": (),
    "process": (),
    "text": ("-luser32",),
    "crt": (),
    "registry": ("-ladvapi32", "-lshell32", "-lws2_32", "-lbcrypt"),
}


def ours(path: Path, *arguments: str, cwd: Path, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "rtld", "run", "--timeout", "60", *words, str(path), *arguments],
        cwd=cwd, env=environment(), capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_functions_do_what_wines_do(name: str, need: Need, tmp_path: Path) -> None:
    """One program, both widths: Wine, which runs the wide one here, is the judge."""
    source = (SOURCES / f"{name}.c").read_text()
    libraries = PROGRAMS[name]

    def place(which: str, arch: str) -> Path:
        """A directory of its own: the program writes there, and may be started from there again."""
        directory = tmp_path / which
        directory.mkdir()
        built = windows.build(source, f"{name}.exe", need, "-O1", *libraries, arch=arch)
        (directory / f"{name}.exe").write_bytes(built.read_bytes())
        return directory

    wide = place("wine", "x86_64")
    judged = windows.wine([wide / f"{name}.exe"], need, cwd=wide)
    assert judged.out.count(b"\n") > 8
    for arch in ("x86_64", "i386"):
        here = place(arch, arch)
        done = ours(here / f"{name}.exe", cwd=here)
        assert done.stdout.decode("latin-1") == judged.out.decode("latin-1"), arch
        assert done.returncode == judged.status
        assert b"rtld:" not in done.stderr

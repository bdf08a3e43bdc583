"""A library that the sysroot does not have: ld.so's sentence, and the package that has it, without any archive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld

CC = Callable[..., Path]


@pytest.mark.parametrize("arch", ["aarch64", "i386"])
def test_the_package_is_named(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    library = cc(
        "int gone(void) { return 1; }",
        "libgone.so.1",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libgone.so.1",
        arch=arch,
    )
    program = cc(
        "extern int gone(void); int main(void) { return gone(); }",
        "main",
        str(library),
        "-w",
        arch=arch,
    )
    root, want = tmp_path / "root", toolchain.target(arch)
    place = root / str(Path(want.interp).parent).lstrip("/")
    place.mkdir(parents=True)
    for name in (Path(want.interp).name, "libc.so.6"):
        shutil.copy(f"{want.libraries}/{name}", place / name)
    known = tmp_path / "known"
    known.write_text("libother.so.2 libother2\nlibgone.so.1 libgone1\n")
    state = {
        "format": 1, "architecture": "arm64", "packages": {}, "libraries": [str(known)],
        "sources": [{"uri": "http://x", "suite": "s", "components": ["main"], "keyring": ""}],
    }  # fmt: skip

    def run() -> tuple[int, list[str]]:
        done = rtld(rtld_command, arch, program, options=[f"--sysroot={root}"])
        return done.returncode, done.stderr.splitlines()

    sentence = f"{program}: error while loading shared libraries: libgone.so.1: cannot open shared object file: No such file or directory"
    assert run() == (127, [sentence])
    (root / ".rtld-sysroot.json").write_text(json.dumps(state))
    advice = f"rtld: package libgone1 has libgone.so.1: rtld sysroot add {root} libgone1"
    assert run() == (127, [sentence, advice])
    known.unlink()
    advice = f"rtld: which package has libgone.so.1: rtld sysroot which {root} libgone.so.1"
    assert run() == (127, [sentence, advice])

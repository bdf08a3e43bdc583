"""The image's machine code: the bytes are what an assembler makes of the text beside them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rtld.arch import x86_64_freeze as code
from rtld.arch.base import Stub

STUBS = {
    "start": code.START,
    "services": code.SERVICES,
    "trampoline": code.TRAMPOLINE,
    "undefined": code.UNDEFINED,
    "finalize": code.FINALIZE,
    "lazy": code.LAZY,
    "redirect": code.REDIRECT,
    "lazy first": code.LAZY_FIRST,
}


@pytest.mark.parametrize("name", STUBS)
def test_bytes_are_the_assembly(name: str, require: Callable[[str], None], tmp_path: Path) -> None:
    if not shutil.which("x86_64-linux-gnu-as"):
        require("x86_64-linux-gnu-as")
    stub: Stub = STUBS[name]
    source, made, flat = tmp_path / "s.s", tmp_path / "s.o", tmp_path / "s.bin"
    source.write_text("\n".join((*stub.assembly, "")))
    subprocess.run(["x86_64-linux-gnu-as", "-o", made, source], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, flat], check=True)
    assert flat.read_bytes()[: len(stub)] == stub.code
    # Every place that the assembler leaves open is filled by us, and no other.
    lines = subprocess.run(["readelf", "-rW", made], check=True, capture_output=True, text=True)
    open_places = {
        int(line.split()[0], 16) for line in lines.stdout.splitlines() if "R_X86_64" in line
    }
    assert open_places == {offset for offset, _formula in stub.holes.values()}


def test_entries_are_labels(tmp_path: Path) -> None:
    source, made = tmp_path / "s.s", tmp_path / "s.o"
    source.write_text("\n".join((*code.SERVICES.assembly, "")))
    subprocess.run(["as", "-o", made, source], check=True)
    names = subprocess.run(["nm", made], check=True, capture_output=True, text=True).stdout
    theirs = {
        line.split()[2]: int(line.split()[0], 16)
        for line in names.splitlines()
        if len(line.split()) == 3
    }
    ours = {**code.ENTRIES, "itself": code.ITSELF}
    assert ours.pop("__readlink_chk") == ours["readlink"]
    assert ours.items() <= theirs.items()

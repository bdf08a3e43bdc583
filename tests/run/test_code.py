"""The machine code of the live child: the bytes are what an assembler makes of the text beside them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from rtld.arch.x86_64_live import LABELS, LIVE
from rtld.backends.child.live_anchor import REPLACED, SERVICES, LiveAnchor
from rtld.elf.donor import donor
from rtld.elf.file import ElfFile


def test_bytes_are_the_assembly(require: Callable[[str], None], tmp_path: Path) -> None:
    if not shutil.which("x86_64-linux-gnu-as"):
        require("x86_64-linux-gnu-as")
    (tmp_path / "s.s").write_text("\n".join((*LIVE.assembly, "")))
    subprocess.run(["x86_64-linux-gnu-as", "-o", tmp_path / "s.o", tmp_path / "s.s"], check=True)
    subprocess.run(
        ["objcopy", "-O", "binary", "-j", ".text", tmp_path / "s.o", tmp_path / "s.bin"], check=True
    )
    made = (tmp_path / "s.bin").read_bytes()
    assert made[: len(LIVE)] == LIVE.code
    names = subprocess.run(
        ["nm", tmp_path / "s.o"], check=True, capture_output=True, text=True
    ).stdout
    for line in names.splitlines():
        address, _kind, name = line.split()
        assert LABELS[name] == int(address, 16)


def test_the_anchor_is_a_sound_file() -> None:
    anchor = LiveAnchor(
        0x10000, b"/lib64/ld-linux-x86-64.so.2", [b"/lib/libc.so.6"], (100, 64), dormant=("malloc",)
    )
    file = ElfFile(anchor.image + bytes(anchor.size - len(anchor.image)))
    assert file.interp == "/lib64/ld-linux-x86-64.so.2"
    tls = file.segment(7)
    assert tls is not None
    assert (tls.memsz, tls.align, tls.vaddr % 64) == (128, 64, 0)
    assert set(SERVICES) - set(REPLACED) == {"bind", "init", "begin", "fini"}
    assert set(REPLACED.values()) <= set(LABELS)
    assert anchor.control == anchor.code + 0x1000


def test_a_donor_is_a_sound_file() -> None:
    file = ElfFile(donor(b"abc", 40, 32, 5, static=True))
    tls = file.segment(7)
    assert tls is not None
    assert (tls.filesz, tls.memsz, tls.align, tls.vaddr % 32) == (3, 40, 32, 5)
    assert bytes(file.contents(tls)) == b"abc"
    assert file.dt_flags == 0x10

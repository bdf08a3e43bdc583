"""The machine code of the child backend is what its assembly says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rtld.backends.child import anchor, machine
from rtld.backends.child.calls import vdso_gate


@pytest.mark.parametrize("bits", [64, 32])
def test_bytes_are_the_assembly(bits: int, tmp_path: Path) -> None:
    entry = machine.X86_64_ENTRY if bits == 64 else machine.I386_ENTRY
    loop = machine.X86_64_LOOP if bits == 64 else machine.I386_LOOP
    source, objfile, flat = tmp_path / "s.s", tmp_path / "s.o", tmp_path / "s.bin"
    source.write_text("\n".join((*entry.assembly, *loop.assembly, "")))
    subprocess.run(["as", f"--{bits}", "-o", objfile, source], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", objfile, flat], check=True)
    assert flat.read_bytes() == entry.code + loop.code
    names = subprocess.run(["nm", objfile], check=True, capture_output=True, text=True).stdout
    labels = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}
    assert labels["moved"] == machine.MOVED[bits]
    assert labels["next"] == len(entry)
    assert anchor.CODE + len(entry) + len(loop) <= anchor.STATE_SP


@pytest.mark.parametrize("bits", [64, 32])
def test_the_anchor_is_an_elf_file(bits: int, tmp_path: Path) -> None:
    made = anchor.Anchor(bits, records=4, data=64)
    path = tmp_path / "anchor"
    path.write_bytes(made.image(stack=7))
    text = subprocess.run(
        ["readelf", "-Whl", path], check=True, capture_output=True, text=True
    ).stdout
    assert f"ELF{bits}" in text
    assert "EXEC (Executable file)" in text
    assert f"{made.base + anchor.CODE:#x}" in text
    load = next(line for line in text.splitlines() if line.split()[:1] == ["LOAD"]).split()
    assert int(load[2], 16) == made.base
    assert int(load[5], 16) == 2 * int(load[4], 16) == 2 * made.size
    stack = next(line for line in text.splitlines() if line.split()[:1] == ["GNU_STACK"])
    assert "RWE" in stack


def test_an_anchor_avoids_addresses() -> None:
    first = anchor.Anchor(64, records=4, data=64)
    second = anchor.Anchor(64, 4, 64, avoid=((first.base + 1, first.base + 2),))
    assert second.base != first.base


def test_gates() -> None:
    assert vdso_gate(bytes.fromhex("90 0f05 c3")) == (1, 0)
    assert vdso_gate(bytes.fromhex("0f05 90 c3")) is None
    assert vdso_gate(bytes.fromhex("0f05 c9 c3 0f05 31d2 4531c0 5d 415e c3")) == (4, 2)
    assert vdso_gate(bytes.fromhex("0f05 5c c3")) is None  # pop %rsp
    assert vdso_gate(b"") is None

"""bind, unbind, rebase: Wine runs what they write, pefile reads it, and the way back leads to the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pefile
import pytest

from pe import windows
from rtld.cli import run
from rtld.pe.file import PeFile
from rtld.pe.imports import bound_imports
from rtld.pe.module import Policies
from rtld.process.link_pe import find


@pytest.fixture
def place(windows_set: Callable[..., Path], tmp_path: Path) -> Path:
    for path in windows_set("x86_64").glob("*.[de][lx][le]"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_bound_runs_and_comes_back(place: Path, need: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    exe = place / "main.exe"
    before = exe.read_bytes()
    dlls = ["--windows-dir", str(windows.WINE_DLLS)]
    assert run(["bind", str(exe), *dlls]) == 0
    assert "bound to alpha.dll" in capsys.readouterr().out
    rows = bound_imports(PeFile(str(exe)))
    theirs = pefile.PE(str(exe)).DIRECTORY_ENTRY_BOUND_IMPORT
    assert [(r.dll.encode(), r.stamp, [f for f, _ in r.forwarders]) for r in rows] == [
        (t.name, t.struct.TimeDateStamp, [f.name.decode() for f in t.entries]) for t in theirs
    ]
    alpha = next(r for r in rows if r.dll == "alpha.dll")
    assert [name for name, _ in alpha.forwarders] == ["beta.dll"]
    assert pefile.PE(str(exe)).verify_checksum()
    judged = windows.wine([exe], need, cwd=place)
    assert judged.status == 7
    plain = place / "plain.exe"
    assert run(["unbind", "-o", str(plain), str(exe)]) == 0
    assert plain.read_bytes() == before


def test_verify_and_use(place: Path) -> None:
    exe = place / "main.exe"
    run(["bind", str(exe), "--windows-dir", str(windows.WINE_DLLS)])
    options: dict[str, Any] = {"windows_dir": str(windows.WINE_DLLS)}
    assert find(str(exe), policies=Policies(bound="verify"), **options).problems == []
    used = find(str(exe), policies=Policies(bound="use"), **options)
    plain = find(str(exe), **options)
    assert {b.how for b in used.bindings(used.modules[0])} == {"bound"}
    assert [(b.definer.path, b.rva) for b in used.bindings()] == [(b.definer.path, b.rva) for b in plain.bindings()]  # fmt: skip
    # another alpha: every address would be wrong, and Windows looks the names up
    data = bytearray((place / "alpha.dll").read_bytes())
    at = PeFile(bytes(data)).nt_offset + 8
    data[at] ^= 1
    (place / "alpha.dll").write_bytes(data)
    stale = find(str(exe), policies=Policies(bound="use"), **options)
    assert [p.subject for p in stale.problems] == ["alpha.dll"]
    assert "alpha.dll is of" in stale.problems[0].message


def test_rebased_runs(place: Path, need: Callable[[str], None]) -> None:
    alpha = place / "alpha.dll"
    assert run(["rebase", "--base", "0x61230000", str(alpha)]) == 0
    theirs = pefile.PE(str(alpha))
    assert theirs.OPTIONAL_HEADER.ImageBase == 0x61230000
    assert theirs.verify_checksum()
    judged = windows.wine([place / "main.exe"], need, cwd=place, debug="+loaddll,+pid")
    assert judged.status == 7
    assert judged.bases["alpha.dll"] == 0x61230000


def test_refusals(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rebase", str(place / "main.exe")]) == 2
    assert run(["rebase", "-b", "0x1234", str(place / "main.exe")]) == 2
    assert "a multiple of 0x10000" in capsys.readouterr().err
    assert run(["unbind", __file__]) == 3

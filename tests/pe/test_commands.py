"""tree, link, why and check of Windows files, as a user calls them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pe import windows
from rtld.cli import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def place(windows_set: Callable[..., Path], tmp_path: Path, need: Callable[[str], None]) -> Path:
    if not windows.WINE_DLLS.is_dir():
        need("libwine")
    for path in windows_set("x86_64").glob("*.[de][lx][le]"):
        shutil.copy(path, tmp_path)
    return tmp_path


def told(capsys: Capture, *words: str, status: int = 0) -> str:
    assert run([*words, "--windows-dir", str(windows.WINE_DLLS)]) == status
    return capsys.readouterr().out


def test_tree(place: Path, capsys: Capture) -> None:
    out = told(capsys, "tree", str(place / "main.exe"))
    assert "├── alpha.dll [application]" in out
    assert "kernelbase.dll [system]" in out
    document = json.loads(told(capsys, "tree", "--json", str(place / "main.exe")))
    assert (document["schema"], document["model"], document["arch"]) == ("rtld/1", "windows", "x86_64")  # fmt: skip
    assert document["missing"] == document["problems"] == []


def test_tree_of_what_is_missing(place: Path, capsys: Capture) -> None:
    (place / "beta.dll").unlink()
    (place / "ping.dll").unlink()
    out = told(capsys, "tree", str(place / "main.exe"), status=1)
    assert "ping.dll not found" in out
    assert f"{place}/ping.dll [application]" in out


def test_link(place: Path, capsys: Capture) -> None:
    out = told(capsys, "link", str(place / "main.exe"))
    assert "x86_64, Windows' rules, 9 modules" in out
    assert "DllMain order" in out
    rows = [line.split("\t") for line in told(capsys, "link", "--bindings", str(place / "main.exe")).splitlines()]  # fmt: skip
    own = {row[2]: row for row in rows if row[0].endswith("main.exe")}
    assert own["alpha_forwarded"][5] == "beta.beta_mul"
    assert own["alpha_forwarded"][6].endswith("beta.dll")
    assert own["#77"][4] == "ordinal"
    document = json.loads(told(capsys, "link", "--json", "--bindings", str(place / "main.exe")))
    assert len(document["bindings"]) == len(rows)
    assert document["init_order"][-1].endswith("main.exe")


def test_why(place: Path, capsys: Capture) -> None:
    out = told(capsys, "why", str(place / "main.exe"), "alpha_forwarded")
    assert "forwarded by" in out
    assert "beta.dll at 0x" in out
    out = told(capsys, "why", str(place / "main.exe"), "beta.dll")
    assert "loaded for" in out
    data = (place / "ping.dll").read_bytes().replace(b"\0ping\0", b"\0Ping\0")
    (place / "ping.dll").write_bytes(data)
    out = told(capsys, "why", str(place / "main.exe"), "ping", status=1)
    assert "differs in case only" in out
    document = json.loads(told(capsys, "why", "--json", str(place / "main.exe"), "ping", status=1))
    assert document["missing"] is True


def test_check(place: Path, capsys: Capture) -> None:
    assert "ok (9 modules" in told(capsys, "check", str(place / "main.exe"))
    (place / "pong.dll").unlink()
    out = told(capsys, "check", "-r", str(place), status=1)
    assert "error: library: pong.dll: not found (error 126, ERROR_MOD_NOT_FOUND)" in out
    assert f"{place}/beta.dll: ok" in out


def test_not_a_program(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.exe").write_bytes(b"MZ" + bytes(100))
    assert run(["check", str(tmp_path / "x.exe")]) == 3
    assert "NT headers: Signature" in capsys.readouterr().err

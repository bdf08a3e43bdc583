"""``events.Trace`` beside LD_DEBUG."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest

from cli.support import Rtld
from rtld import link
from rtld.events import Record, Trace, categories


def ours(path: str, words: str) -> list[str]:
    sink = io.StringIO()
    link(path, reporter=Trace(categories(words), sink, 7))
    lines = sink.getvalue().splitlines()
    assert all(line.startswith("         7:\t") for line in lines)
    return [line.partition("\t")[2] for line in lines]


def real(path: str, words: str) -> list[str]:
    env = {"LD_DEBUG": words, "LD_BIND_NOW": "1", "LD_TRACE_LOADED_OBJECTS": "1", "LD_WARN": "1"}
    done = subprocess.run([path], capture_output=True, text=True, check=False, env=env)
    return [
        line.partition("\t")[2]
        for line in (done.stderr + done.stdout).splitlines()
        if re.match(r" +\d+:\t", line)
    ]


@pytest.mark.live
def test_libs(here: Path) -> None:
    path = str(here / "app")
    assert [x for x in ours(path, "libs") if x] == [x for x in real(path, "libs") if x]


@pytest.mark.live
@pytest.mark.parametrize("path", ["/bin/ls", "/usr/bin/git"])
def test_bindings_and_versions(path: str) -> None:
    theirs = [
        x for x in real(path, "bindings") if x.startswith("binding file") and "linux-vdso" not in x
    ]
    mine = [x for x in ours(path, "bindings") if x.startswith("binding file")]
    assert set(theirs) == {x for x in mine if not x.startswith("binding file /lib64/ld-linux")} | {
        x for x in theirs if x.startswith("binding file /lib64/ld-linux")
    }
    assert [x for x in ours(path, "versions") if x] == [
        x for x in real(path, "versions") if x.startswith("checking")
    ]


@pytest.mark.live
def test_symbols(here: Path) -> None:
    """The files asked for a name, one after the other, up to the one that has it."""
    path = str(here / "app")
    wanted = [x for x in real(path, "symbols") if x.startswith("symbol=shared;")]
    assert set(wanted) == {x for x in ours(path, "symbols") if x.startswith("symbol=shared;")}


def test_scopes(here: Path) -> None:
    lines = ours(str(here / "app"), "scopes")
    assert "Initial object scopes" in lines
    assert any(line.startswith(f" scope 0: {here}/app {here}/libone.so ") for line in lines)


def test_categories() -> None:
    assert (
        categories("")
        == categories("all")
        == {"libs", "reloc", "files", "symbols", "bindings", "versions", "scopes"}
    )
    assert categories("libs,statistics") == {"libs", "statistics"}
    with pytest.raises(ValueError, match="nothing"):
        categories("libs,nothing")


def test_record(here: Path) -> None:
    record = Record()
    linked = link(str(here / "app"), reporter=record)
    assert [module for (module,) in record.of("module")] == linked.modules
    assert len(record.of("bound")) == len(linked.bindings().looked_up())


def test_run_s_help(rtld: Rtld) -> None:
    status, out, _ = rtld("run", "--trace=help")
    assert status == 0
    assert "  bindings    display information about symbol binding\n" in out

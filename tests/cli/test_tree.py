"""``rtld tree``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import Rtld, lib

Golden = Callable[[str, str], None]


def shown(text: str, place: Path) -> str:
    """Without what differs between machines: the directory, the platform's own search directories."""
    lines = text.replace(str(place), "DIR").splitlines()
    return (
        "\n".join(line for line in lines if "[default]" not in line and "hwcaps" not in line) + "\n"
    )


def test_tree(rtld: Rtld, here: Path, golden: Golden) -> None:
    status, out, err = rtld("tree", here / "app")
    assert (status, err) == (0, "")
    golden("tree/app.txt", shown(out, here))


def test_paths(rtld: Rtld, here: Path) -> None:
    out = rtld("tree", "-p", here / "app").out
    assert f"├── {here}/libone.so [RUNPATH]" in out
    assert f"│   └── {here}/libtwo.so [RUNPATH]" in out


def test_all_and_depth(rtld: Rtld, here: Path) -> None:
    once, everywhere = rtld("tree", "/bin/bash").out, rtld("tree", "-a", "/bin/bash").out
    assert everywhere.count("ld-linux") > once.count("ld-linux")
    assert " (*)" in once
    assert " (*)" not in everywhere
    assert len(rtld("tree", "--max-depth", 1, here / "app").out.splitlines()) == 3
    assert rtld("tree", "-d0", here / "app").out == f"{here}/app\n"


def test_missing(rtld: Rtld, here: Path, golden: Golden) -> None:
    status, out, _ = rtld("tree", "--inhibit-cache", "--cpu", "baseline", here / "lost/app")
    assert status == 1
    assert "paths considered, in this order:" in out
    assert f"{here}/lost/libtwo.so [RUNPATH]" in out
    out = out.replace("libc.so.6 [default]", "libc.so.6 [rule]").replace(
        "libc.so.6 [ld.so.cache]", "libc.so.6 [rule]"
    )
    golden("tree/missing.txt", shown(out, here))


def test_rpath_of_another(rtld: Rtld, cc: Callable[..., Path]) -> None:
    """DT_RPATH is inherited: the rule says whose it was."""
    two = cc("int two(void) { return 2; }", "libtwo.so", *lib("libtwo.so"))
    one = cc(
        "int two(void); int one(void) { return two(); }",
        "libone.so",
        *lib("libone.so"),
        f"-L{two.parent}",
        "-ltwo",
    )
    app = cc(
        "int one(void); int main(void) { return one(); }", "app", f"-L{one.parent}", "-lone",
        f"-Wl,-rpath,{one.parent}:{two.parent},--disable-new-dtags",
    )  # fmt: skip
    out = rtld("tree", app).out
    assert "├── libone.so [RPATH]" in out
    assert f"libtwo.so [RPATH of {app}]" in out


def test_environment(rtld: Rtld, here: Path) -> None:
    lost = here / "lost/app"
    assert rtld("tree", "--library-path", here, lost).status == 0
    assert (
        "libtwo.so [LD_LIBRARY_PATH]" in rtld("tree", "--env", f"LD_LIBRARY_PATH={here}", lost).out
    )
    preloaded = rtld("tree", "--preload", here / "libtwo.so", "/bin/ls").out
    assert "[preload, path]" in preloaded.splitlines()[1]


def test_static(rtld: Rtld, cc: Callable[..., Path]) -> None:
    program = cc("int main(void) { return 0; }", "app", "-static")
    assert rtld("tree", program) == (0, f"{program} (statically linked)\n", "")


def test_cycle(rtld: Rtld, cc: Callable[..., Path], tmp_path: Path) -> None:
    """Two libraries that need each other: finished even with --all."""
    stub = cc("int a(void) { return 0; }", "liba.so", *lib("liba.so"))
    b = cc(
        "int a(void); int b(void) { return a(); }",
        "libb.so",
        *lib("libb.so"),
        f"-L{stub.parent}",
        "-la",
    )
    a = cc(
        "int b(void); int a(void) { return b(); }",
        "liba.so",
        *lib("liba.so"),
        f"-L{b.parent}",
        "-lb",
    )
    for file in (a, b):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for words in ([], ["-a"]):
        status, out, _ = rtld("tree", *words, "--library-path", tmp_path, tmp_path / "liba.so")
        assert status == 0
        assert "libb.so [--library-path]" in out or "libb.so [LD_LIBRARY_PATH]" in out


@pytest.mark.live
def test_foreign_sysroot(rtld: Rtld, cc: Callable[..., Path]) -> None:
    program = cc("int main(void) { return 0; }", "app", arch="aarch64")
    status, out, _ = rtld("tree", "--library-path", "/usr/aarch64-linux-gnu/lib", program)
    assert status == 0
    assert "libc.so.6" in out

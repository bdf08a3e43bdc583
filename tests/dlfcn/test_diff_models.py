"""A program whose bindings depend on whose rules are followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rtld.process.diffmodels import diff_models


def test_weak_before_strong(lib: Callable[..., str], cc: Callable[..., Path]) -> None:
    weak = lib(
        "__attribute__((weak)) int name(void) { return 1; }",
        "-Wl,-soname,libweakone.so",
        name="libweakone.so",
    )
    strong = lib(
        "int name(void) { return 2; }", "-Wl,-soname,libstrongone.so", name="libstrongone.so"
    )
    rpath = [f"-Wl,-rpath,{Path(p).parent}" for p in (weak, strong)]
    program = str(
        cc(
            "int name(void); int main(void) { return name(); }",
            "prog",
            "-Wl,--no-as-needed",
            weak,
            strong,
            *rpath,
        )
    )
    (difference,) = diff_models(program, "glibc", "freebsd")
    assert (difference.kind, difference.symbol) == ("bind", "name")
    assert (difference.first, difference.second) == (weak, strong)
    assert diff_models(program, "glibc", "bionic") == []
    # QNX has no RUNPATH: by its rules nothing is found, and so nothing bound.
    kinds = [(d.kind, d.symbol, d.first) for d in diff_models(program, "qnx", "glibc")]
    assert kinds == [("search", "libweakone.so", None), ("search", "libstrongone.so", None)]
    path = f"{Path(weak).parent}:{Path(strong).parent}"
    (difference,) = diff_models(program, "qnx", "glibc", library_path=path)
    assert (difference.symbol, difference.first, difference.second) == ("name", strong, weak)
    with pytest.raises(ValueError, match="model"):
        diff_models(program, "glibc", "vms")


def test_search(lib: Callable[..., str], cc: Callable[..., Path]) -> None:
    """RPATH: to Android it is nothing. LD_LIBRARY_PATH comes after it, but for musl."""
    one = lib("int one(void) { return 1; }", "-Wl,-soname,libone.so", name="libone.so")
    other = lib("int one(void) { return 2; }", "-Wl,-soname,libone.so", name="libone.so")
    program = str(
        cc(
            "int one(void); int main(void) { return one(); }",
            "prog",
            "-Wl,--no-as-needed",
            one,
            f"-Wl,-rpath,{Path(one).parent},--disable-new-dtags",
        )
    )
    (difference,) = diff_models(program, "glibc", "bionic")
    assert difference == ("search", program, "libone.so", None, one, None)
    second = str(Path(other).parent)
    (difference,) = diff_models(program, "glibc", "musl", library_path=second)
    assert difference == ("search", program, "libone.so", None, one, other)
    assert diff_models(program, "glibc", "freebsd", library_path=second) == []


def test_versions_and_scopes(
    lib: Callable[..., str], cc: Callable[..., Path], tmp_path: Path
) -> None:
    """A version that is not there; libraries that FreeBSD and Android put first."""
    script = tmp_path / "v.map"
    script.write_text("V1 { global: one; };")
    versioned = lib(
        "int one(void) { return 1; }",
        f"-Wl,--version-script={script}",
        "-Wl,-soname,libone.so",
        name="libone.so",
    )
    plain = lib(
        "int one(void) { return 1; } int two(void) { return 1; }",
        "-Wl,-soname,libone.so",
        name="libone.so",
    )
    last = {
        flag: lib(
            "int two(void) { return 2; }", f"-Wl,-z,{flag}", "-Wl,-soname,liblast.so",
            name="liblast.so",
        )
        for flag in ("interpose", "global")
    }  # fmt: skip
    program = str(
        cc(
            "int one(void); int two(void); int main(void) { return one() + two(); }",
            "prog",
            "-Wl,--no-as-needed",
            versioned,
            last["global"],
        )
    )
    found = {}
    for model, flag in (("freebsd", "interpose"), ("bionic", "global"), ("musl", "global")):
        path = f"{Path(plain).parent}:{Path(last[flag]).parent}"
        found[model] = diff_models(program, "glibc", model, library_path=path)
    assert found["freebsd"] == [
        ("version", program, None, "V1", None, "fatal"),
        ("bind", program, "two", None, plain, last["interpose"]),
    ]
    assert found["bionic"] == [("bind", program, "two", None, plain, last["global"])]
    assert found["musl"] == []

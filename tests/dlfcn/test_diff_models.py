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
    assert (difference.symbol, difference.first, difference.second) == ("name", weak, strong)
    assert diff_models(program, "glibc", "bionic") == []
    assert [d.symbol for d in diff_models(program, "qnx", "glibc")] == ["name"]
    with pytest.raises(ValueError, match="model"):
        diff_models(program, "glibc", "vms")

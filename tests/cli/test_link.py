"""``rtld link``: sections, bindings, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import oracle
from cli.support import Rtld, lib


def test_sections(rtld: Rtld, here: Path) -> None:
    status, out, err = rtld("link", here / "app")
    assert (status, err) == (0, "")
    for title in (
        "modules, in load order",
        "thread-local storage",
        "scopes",
        "init order",
        "relocations:",
        "bindings:",
        "time:",
    ):
        assert f"\n{title}" in out
    order = re.findall(
        r"^ +\d+  (/\S+)$",
        out.partition("\ninit order")[2].partition("\nrelocations")[0],
        re.MULTILINE,
    )
    assert order[-1] == f"{here}/app"
    assert order.index(f"{here}/libtwo.so") < order.index(f"{here}/libone.so")


def test_bindings_are_those_of_ld_so(rtld: Rtld, here: Path) -> None:
    status, out, _ = rtld("link", "--bindings", here / "app")
    assert status == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert all(len(row) == 5 for row in rows)
    ours = {(r, d, s, v) for r, d, s, v, kind in rows if d != "-"}
    real = {
        (b.referrer, b.definer, b.symbol, b.version or "-")
        for b in oracle.ld_bindings(str(here / "app"))
    }
    assert real <= ours
    assert [f"{here}/app", f"{here}/libone.so", "shared", "-", "normal"] in rows


def test_bindings_as_json(rtld: Rtld, here: Path) -> None:
    document = json.loads(rtld("link", "--json", "--bindings", here / "app").out)
    lines = rtld("link", "--bindings", here / "app").out.splitlines()
    keys = ("referrer", "definer", "symbol", "version", "kind")
    assert ["\t".join(row[key] or "-" for key in keys) for row in document["bindings"]] == lines
    assert document["binding_counts"]["normal"] == sum(
        row["kind"] == "normal" for row in document["bindings"]
    )


def test_undefined(rtld: Rtld, here: Path) -> None:
    status, out, err = rtld("link", "--bindings", here / "lost/libone.so")
    assert status == 1
    assert f"{here}/lost/libone.so\t-\ttwo\t-\tundefined\n" in out
    assert f"rtld: {here}/lost/libone.so: undefined symbol: two\n" in err
    assert (
        f"libtwo.so: cannot open shared object file: No such file or directory (needed by {here}/lost/libone.so)"
        in err
    )


def test_kinds(rtld: Rtld, cc: Callable[..., Path]) -> None:
    library = cc(
        'int data = 1; __attribute__((visibility("protected"))) int own(void) { return 1; }\n'
        "int (*pointer)(void) = own; extern int maybe(void) __attribute__((weak)); int f(void) { return maybe ? maybe() : 0; }",
        "libk.so", *lib("libk.so"),
    )  # fmt: skip
    program = cc(
        "extern int data; int f(void); int main(void) { return data + f(); }", "app",
        "-no-pie", "-fno-pie", f"-L{library.parent}", "-lk", f"-Wl,-rpath,{library.parent}",
    )  # fmt: skip
    rows = [tuple(line.split("\t")) for line in rtld("link", "-b", program).out.splitlines()]
    assert (str(program), str(library), "data", "-", "copy") in rows
    assert (str(library), str(program), "data", "-", "normal") in rows or not any(
        r[0] == str(library) and r[2] == "data" for r in rows
    )
    assert (str(library), "-", "maybe", "-", "weak-undefined") in rows


@pytest.mark.parametrize("words", [[], ["--bindings"]])
def test_static(rtld: Rtld, cc: Callable[..., Path], words: list[str]) -> None:
    program = cc("int main(void) { return 0; }", "app", "-static")
    status, out, err = rtld("link", *words, program)
    assert (status, err) == (0, "")
    assert ("statically linked" in out) == (not words)


def test_demangle(rtld: Rtld, cc: Callable[..., Path]) -> None:
    program = cc(
        "#include <string>\nint main(int n, char **v) { std::string s(v[0]); s += s; return s.size() > n; }",
        "app",
        "-xc++",
    )
    out = rtld("link", "-b", "-C", program).out
    assert "\tstd::" in out
    assert "\t_ZNSt" not in out

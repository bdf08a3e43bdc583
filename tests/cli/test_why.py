"""``rtld why``: every reason once."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.support import Rtld, lib
from rtld import link
from rtld.elf.explain import entries, explain, explain_binding


def answers(rtld: Rtld, *words: object) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(rtld("why", "--json", *words).out)["references"]
    return result


def test_interposition(rtld: Rtld, here: Path, golden: Callable[[str, str], None]) -> None:
    status, out, _ = rtld("why", here / "app", "shared")
    assert status == 0
    golden("why/interposed.txt", re.sub(" at 0x[0-9a-f]+", "", out.replace(str(here), "DIR")))
    (answer,) = answers(rtld, here / "app", "shared")
    assert answer["definer"] == f"{here}/libone.so"
    assert answer["referrers"] == [f"{here}/app", f"{here}/libone.so"]
    assert [(c["module"].rpartition("/")[2], c["verdict"]) for c in answer["candidates"]] == [
        ("app", "reference"), ("libone.so", "taken"), ("libtwo.so", "interposed"),
    ]  # fmt: skip


def test_module_and_version(rtld: Rtld) -> None:
    status, out, _ = rtld("why", "/bin/ls", "libc.so.6:malloc")
    assert (status, out.splitlines()[0]) == (0, "malloc: 1 module refers to it")
    assert rtld("why", "/bin/ls", "malloc@GLIBC_2.2.5").status == 0
    status, out, _ = rtld("why", "/bin/ls", "malloc@NOT_THERE")
    assert status == 1
    assert "another version: GLIBC_2.2.5, wanted NOT_THERE" in out


def test_undefined_and_near_misses(rtld: Rtld, here: Path) -> None:
    status, out, _ = rtld("why", here / "lost/app", "two")
    assert status == 1
    assert "bound to nobody (undefined)" in out
    status, out, _ = rtld(
        "why", "--library-path", here, here / "lost/libone.so", "nothing_has_this_name"
    )
    assert (status, "no module of" in out) == (1, True)


def test_library_on_disk(rtld: Rtld, cc: Callable[..., Path], tmp_path: Path) -> None:
    """A symbol whose library somebody forgot to link with."""
    library = cc(
        "int forgotten_symbol(void) { return 1; }", "libforgotten.so", *lib("libforgotten.so")
    )
    program = cc(
        "int forgotten_symbol(void); int main(void) { return forgotten_symbol(); }",
        "app",
        "-Wl,--unresolved-symbols=ignore-all",
    )
    for file in (library, program):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    status, out, _ = rtld("why", tmp_path / "app", "forgotten_symbol")
    assert status == 1
    assert f"{tmp_path}/libforgotten.so  forgotten_symbol  in a library that is not loaded" in out


def test_hidden(rtld: Rtld, cc: Callable[..., Path]) -> None:
    library = cc(
        '__attribute__((visibility("hidden"))) int secret(void) { return 1; } int open_one(void) { return secret(); }',
        "libhidden.so", *lib("libhidden.so"),
    )  # fmt: skip
    program = cc(
        "int secret(void), open_one(void); int main(void) { return secret() + open_one(); }", "app",
        f"-L{library.parent}", "-lhidden", f"-Wl,-rpath,{library.parent},--unresolved-symbols=ignore-all",
    )  # fmt: skip
    out = rtld("why", program, "secret").out
    assert f"{library}  secret  private to the module (LOCAL FUNC): not exported" in out


VERSIONED = """
__asm__(".symver old_one, f@V1"); int old_one(void) { return 1; }
__asm__(".symver new_one, f@@V2"); int new_one(void) { return 2; }
"""


@pytest.fixture(scope="module")
def versioned(cc: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("versions") / "map"
    script.write_text("V1 { global: f; }; V2 { global: f; } V1;")
    return cc(
        VERSIONED, "libv.so", *lib("libv.so"), f"-Wl,--version-script={script}", "-Wl,-z,nodelete"
    )


def test_versions(rtld: Rtld, cc: Callable[..., Path], versioned: Path) -> None:
    program = cc(
        "int f(void); int main(void) { return f(); }",
        "app",
        f"-L{versioned.parent}",
        "-lv",
        f"-Wl,-rpath,{versioned.parent}",
    )
    (answer,) = answers(rtld, program, "f")
    verdicts = {
        c["symbol"]: (c["verdict"], c["reason"])
        for c in answer["candidates"]
        if c["module"] == str(versioned)
    }
    assert answer["version"] == "V2"
    assert verdicts["f@@V2"] == ("taken", "the version asked for")
    assert verdicts["f@V1"] == ("refused", "another version: V1, wanted V2")


def test_unversioned_reference(
    rtld: Rtld, cc: Callable[..., Path], versioned: Path, tmp_path: Path
) -> None:
    """Linked against a library without versions: the first version answers, not the default one."""
    plain = cc("int f(void) { return 0; }", "libv.so", *lib("libv.so"))
    program = cc("int f(void); int main(void) { return f(); }", "app", f"-L{plain.parent}", "-lv")
    (answer,) = answers(rtld, "--library-path", versioned.parent, program, "f")
    taken = [c for c in answer["candidates"] if c["verdict"] == "taken"]
    assert [c["symbol"] for c in taken] == ["f@V1"]


def test_libraries(rtld: Rtld, here: Path) -> None:
    status, out, _ = rtld("why", here / "app", "libtwo.so")
    assert status == 0
    assert f"loaded for {here}/app -> {here}/libone.so -> {here}/libtwo.so" in out
    assert f"needed by {here}/libone.so" in out
    status, out, _ = rtld("why", here / "lost/app", "libtwo.so")
    assert status == 1
    assert "libtwo.so: not found" in out
    assert f"{here}/lost/libtwo.so [RUNPATH]" in out
    status, out, _ = rtld("why", here / "app", "libm.so.6")
    assert status == 1
    assert "nobody needs it" in out
    document = json.loads(rtld("why", "--json", here / "app", "libtwo.so").out)
    assert document["chain"] == [f"{here}/{name}" for name in ("app", "libone.so", "libtwo.so")]


def test_another_version_on_disk(rtld: Rtld, cc: Callable[..., Path], tmp_path: Path) -> None:
    library = cc("int g(void) { return 1; }", "libnew.so.2", *lib("libnew.so.2"))
    old = cc("int g(void) { return 1; }", "libnew.so", *lib("libnew.so.1"))
    program = cc("int g(void); int main(void) { return g(); }", "app", f"-L{old.parent}", "-lnew")
    for file in (library, program):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    status, out, _ = rtld("why", tmp_path / "app", "libnew.so.1")
    assert status == 1
    assert f"{tmp_path}/libnew.so.2  libnew.so.2  another version" in out


@pytest.mark.live
@pytest.mark.parametrize("path", ["/usr/bin/gdb", "/usr/bin/git", "/bin/bash"])
def test_the_walk_agrees_with_the_bindings(path: str) -> None:
    """The scalar, explained look-up and the vectorised one: the same definition for a sample of all references."""
    linked = link(path, relocated=False)
    bindings, ns = linked.bindings(), linked.namespace
    rows = bindings.looked_up().tolist()
    random.Random(1).shuffle(rows)
    for row in rows[:150]:
        found = entries(ns, bindings.name(row))
        answer = explain_binding(ns, row, found)
        definer = int(bindings.definer[row])
        assert answer.definer is (bindings.modules[definer] if definer >= 0 else None)
        if answer.kind in ("normal", "copy", "weak-undefined", "undefined"):
            walked = explain(ns, answer.reference, found)
            assert walked.definer is answer.definer
            assert walked.definition is None or walked.definition.index == int(
                bindings.definition[row]
            )


SHOP = """
namespace shop { int price(int v) { return v; } int price(double v) { return v; } int tax(int v) { return v + 1; }
struct Till { Till(int); virtual ~Till(); int open(const char *) const; };
Till::Till(int) {} Till::~Till() {} int Till::open(const char *) const { return tax(price(1)) + price(2.0); } }
"""


@pytest.mark.parametrize(
    ("written", "symbol"),
    [
        ("shop::tax", "_ZN4shop3taxEi"),
        ("shop::price(double)", "_ZN4shop5priceEd"),
        ("shop::Till::open", "_ZNK4shop4Till4openEPKc"),
        ("libshop.so:shop::tax(int)", "_ZN4shop3taxEi"),
        ("libshop.so:vtable for shop::Till", "_ZTVN4shop4TillE"),
        ("std::terminate", "_ZSt9terminatev"),
        ("std::ostream::flush()", "_ZNSo5flushEv"),
        ("operator new(unsigned long)", "_Znwm"),
        ("std::cout@GLIBCXX_3.4", "_ZSt4cout@GLIBCXX_3.4"),
    ],
)
def test_names_as_they_are_written(
    rtld: Rtld, cc: Callable[..., Path], written: str, symbol: str
) -> None:
    library = cc(SHOP, "libshop.so", *lib("libshop.so"), "-xc++", "-Wl,--no-as-needed,-lstdc++")
    first = rtld("why", library, written).out.partition(": ")[0]
    assert first == symbol


def test_a_written_name_of_several_symbols(rtld: Rtld, cc: Callable[..., Path]) -> None:
    library = cc(SHOP, "libshop.so", *lib("libshop.so"), "-xc++", "-Wl,--no-as-needed,-lstdc++")
    status, _, err = rtld("why", library, "shop::price")
    assert status == 2
    assert "shop::price is 2 symbols" in err
    assert "  _ZN4shop5priceEd  shop::price(double)\n" in err
    assert rtld("why", library, "shop::nothing").status == 1

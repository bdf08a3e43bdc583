"""Which definition of a symbol with versions each model takes, case by case.

glibc is judged by running the program, musl by musl's own loader. FreeBSD's answers are read off libexec/rtld-elf/rtld.c
(matched_symbol, check_object_provided_version), Android's off bionic (linker_soinfo.cpp, check_symbol_version; linker.cpp,
find_verdef_version_index); QNX's linker has no versions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtld
import toolchain
from rtld.cli import options
from rtld.elf.models import MODELS
from rtld.elf.scalar import dynsym

Cc = Callable[..., Path]

MUSL = f"/lib/ld-musl-{toolchain.HOST}.so.1"
V1, V2, BASE, OTHER, V0 = 1, 2, 3, 4, 5  # what f() returns; OTHER is that of the second library
NOBODY, REFUSED = 0, -1

_F = 'int f%d(void) { return %d; } __asm__(".symver f%d,f@%s");\n'


def f(code: int, version: str) -> str:
    return _F % (code, code, code, version)


# fmt: off
#: name -> (source, version script)
LIBRARIES = {
    "none":       ("int f(void) { return 3; }", ""),
    "both":       (f(1, "V1") + f(2, "@V2"), "V1 {}; V2 {} V1;"),
    "later":      ("int g(void) { return 9; }" + f(1, "V1") + f(2, "@V2"), "G { global: g; }; V1 {} G; V2 {} V1;"),
    "only old":   (f(1, "V1"), "V1 {};"),
    "only new":   ("int g(void) { return 9; }" + f(2, "@V2"), "V1 { global: g; }; V2 {};"),
    "base":       ("int g(void) { return 9; } int f(void) { return 3; }", "V1 { global: g; };"),
    "other":      (f(5, "@V0"), "V0 {};"),
    "other base": ("int g(void) { return 9; } int f(void) { return 3; }", "V0 { global: g; };"),
}
#: (version the program wants, library) -> answer by model; "qnx" stands for both.
ANSWERS = {
    (None, "none"):       {"glibc": BASE, "musl": BASE, "freebsd": BASE, "bionic": BASE, "qnx": BASE},
    # The first version there was, to which programs without versions were linked; Android and musl: what is not hidden.
    (None, "both"):       {"glibc": V1, "musl": V2, "freebsd": V1, "bionic": V2},
    # Not the first of all versions: the one that is not hidden.
    (None, "later"):      {"glibc": V2, "musl": V2, "freebsd": V2, "bionic": V2},
    (None, "only old"):   {"glibc": V1, "musl": OTHER, "freebsd": V1, "bionic": OTHER, "qnx": V1},
    (None, "only new"):   {"glibc": V2, "musl": V2, "freebsd": V2, "bionic": V2, "qnx": V2},
    (None, "base"):       {"glibc": BASE, "musl": BASE, "freebsd": BASE, "bionic": BASE, "qnx": BASE},
    # A library without versions is as good as any, but to FreeBSD.
    ("V1", "none"):       {"glibc": BASE, "musl": BASE, "freebsd": REFUSED, "bionic": BASE, "qnx": BASE},
    ("V1", "both"):       {"glibc": V1, "musl": V2, "freebsd": V1, "bionic": V1},
    ("V2", "both"):       {"glibc": V2, "musl": V2, "freebsd": V2, "bionic": V2},
    ("V1", "later"):      {"glibc": V1, "musl": V2, "freebsd": V1, "bionic": V1},
    ("V1", "only old"):   {"glibc": V1, "musl": OTHER, "freebsd": V1, "bionic": V1, "qnx": V1},
    # The version is defined, the symbol has another.
    ("V1", "only new"):   {"glibc": OTHER, "musl": V2, "freebsd": OTHER, "bionic": OTHER, "qnx": V2},
    # The version is defined, the symbol has none: Android compares the index and does not take it.
    ("V1", "base"):       {"glibc": BASE, "musl": BASE, "freebsd": BASE, "bionic": OTHER, "qnx": BASE},
    # The version is not defined: Android means the symbols without version, and nobody stops.
    ("V1", "other"):      {"glibc": REFUSED, "musl": V0, "freebsd": REFUSED, "bionic": OTHER, "qnx": V0},
    ("V1", "other base"): {"glibc": REFUSED, "musl": BASE, "freebsd": REFUSED, "bionic": BASE, "qnx": BASE},
}
# fmt: on
CASES = [
    (wanted, library, model, answer)
    for (wanted, library), answers in ANSWERS.items()
    for model, answer in answers.items()
]


class Build:
    """The programs, each with a directory of libraries for every case."""

    def __init__(self, cc: Cc, place: Path) -> None:
        self.cc = cc
        self.place = place

    def library(self, name: str) -> Path:
        source, script = LIBRARIES[name]
        flags = ["-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libx.so", "-O1"]
        if script:
            file = self.place / f"{name}.map"
            file.write_text(script)
            flags.append(f"-Wl,--version-script={file}")
        return self.cc(source + f"/* {script} */", "libx.so", *flags)

    def program(self, wanted: str | None, libc: str) -> Path:
        stub = {None: "none", "V1": "only old", "V2": "both"}[wanted]
        source = "int f(void); int main(void) { return f(); }"
        against = self.library(stub)
        if wanted == "V1":
            # Nothing can be linked against a version that is not the default one.
            script = self.place / "stub.map"
            script.write_text("V1 { global: f; };")
            against = self.cc(
                "int f(void) { return 8; }", "libx.so", "-shared", "-fPIC", "-nostdlib",
                "-Wl,-soname,libx.so", f"-Wl,--version-script={script}",
            )  # fmt: skip
        other = self.cc(
            "int f(void) { return 4; }", "liby.so", "-shared", "-fPIC", "-nostdlib",
            "-Wl,-soname,liby.so", "-O1",
        )  # fmt: skip
        return self.cc(source, f"main-{libc}", "-Wl,--no-as-needed", str(against), str(other), libc=libc)  # fmt: skip

    def arrange(self, wanted: str | None, library: str, libc: str = "glibc") -> tuple[Path, Path]:
        directory = self.place / f"{wanted}-{library}"
        directory.mkdir(exist_ok=True)
        shutil.copy(self.library(library), directory / "libx.so")
        other = self.cc(
            "int f(void) { return 4; }", "liby.so", "-shared", "-fPIC", "-nostdlib",
            "-Wl,-soname,liby.so", "-O1",
        )  # fmt: skip
        shutil.copy(other, directory / "liby.so")
        return self.program(wanted, libc), directory


@pytest.fixture(scope="module")
def build(cc: Cc, tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(cc, tmp_path_factory.mktemp("versions"))


def ours(program: Path, directory: Path, model: str, **options: Any) -> int:
    """What f() would return, read off the definition that the program is bound to."""
    link = rtld.link(
        program, model=model, library_path=str(directory), env={}, relocated=False, **options
    )
    bindings = link.bindings()
    if any(p.kind == "version" and p.fatal for p in link.problems):
        return REFUSED
    for row in range(len(bindings)):
        if (
            bindings.name(row) == "f"
            and bindings.modules[bindings.referrer[row]] is link.modules[0]
        ):
            number = int(bindings.definer[row])
            if number < 0:
                return NOBODY
            module = bindings.modules[number]
            if module.path.endswith("liby.so"):
                return OTHER
            table = dynsym(module.file)
            raw = table.version(int(bindings.definition[row]))
            name = table.version_names().get(raw & 0x7FFF) if raw >= 0 else None
            return {b"V0": V0, b"V1": V1, b"V2": V2, None: BASE}[name]
    raise AssertionError("the program does not refer to f")


@pytest.mark.parametrize(("wanted", "library", "model", "answer"), CASES)
def test_model(build: Build, wanted: str | None, library: str, model: str, answer: int) -> None:
    models = ("qnx", "qnx-doc") if model == "qnx" else (model,)
    for one in models:
        libc = "musl" if one == "musl" else "glibc"
        system = (
            {} if one in ("glibc", "musl") else {"system_path": f"/lib/{toolchain.HOST}-linux-gnu"}
        )
        program, directory = build.arrange(wanted, library, libc)
        assert ours(program, directory, one, **system) == answer


@pytest.mark.parametrize(("wanted", "library"), ANSWERS)
def test_glibc_says_so(build: Build, wanted: str | None, library: str) -> None:
    program, directory = build.arrange(wanted, library)
    env = {**os.environ, "LD_LIBRARY_PATH": str(directory), "LC_ALL": "C"}
    done = subprocess.run([program], env=env, capture_output=True, text=True, check=False)
    if ANSWERS[wanted, library]["glibc"] == REFUSED:
        assert "version `V1' not found" in done.stderr
    elif (wanted, library) == ("V1", "none"):
        # Nobody has seen this but makers of tests: a library without any version, not even libc's, stops glibc 2.36 at an
        # assertion of its own.
        assert "no version information available" in done.stderr
        assert done.returncode == BASE or "Assertion" in done.stderr
    else:
        assert done.returncode == ANSWERS[wanted, library]["glibc"]


@pytest.mark.parametrize(("wanted", "library"), ANSWERS)
def test_musl_says_so(
    build: Build, wanted: str | None, library: str, require: Callable[[str], None]
) -> None:
    if not os.path.exists(MUSL):
        require("musl")
    program, directory = build.arrange(wanted, library, "musl")
    done = subprocess.run([program], env={"LD_LIBRARY_PATH": str(directory)}, check=False)
    assert done.returncode == ANSWERS[wanted, library]["musl"]


def test_all_models_are_there() -> None:
    assert tuple(MODELS) == options.MODELS


def test_why_says_whose_rule(build: Build) -> None:
    """``rtld why`` gives the model's own reasons."""
    program, directory = build.arrange("V1", "base")
    system = f"/lib/{toolchain.HOST}-linux-gnu"
    reasons = {}
    for model in ("freebsd", "bionic", "qnx"):
        link = rtld.link(
            program, model=model, library_path=str(directory), env={}, system_path=system,
            relocated=False,
        )  # fmt: skip
        (case,) = link.why("f").cases  # type: ignore[union-attr]
        reasons[model] = next(
            r.reason for r in case.answer.rows if r.module.path.endswith("libx.so")
        )
    assert reasons == {
        "freebsd": "the base definition, which fits any version",
        "bionic": "another version: the base version, wanted V1",
        "qnx": "QNX does not compare versions",
    }

"""``rtld run --lazy-load``: a library comes when a function of it is called first. What the program says is what it says under
qemu-user, where all libraries are there from the start.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

import casefile
import toolchain
from conftest import require
from emulated_support import rtld, run_case, sysroot

CC = Callable[..., Path]
CPUS = ("arm", "aarch64", "i386", "riscv64", "s390x")

LIBRARIES = {
    "libnever.so": "int never_ready; __attribute__((constructor)) static void up(void) { never_ready = 1; }\nvoid never(void) {}",
    "libanswer.so": "int answer = 42;",
    "libdeep.so": """
        #include <stdio.h>
        #include <dlfcn.h>
        static int ready;
        __attribute__((constructor)) static void up(void) { ready = 5; }
        void deeper(int n) { printf("deeper %d, initialised %d\\n", n, ready); }
    """,
    "libgreet.so": """
        #include <stdio.h>
        extern void deeper(int);
        static __thread int calls = 10;
        static int ready;
        __attribute__((constructor)) static void up(void) { ready = 3; }
        __attribute__((destructor)) static void down(void) { puts("greet goes"); }
        double greet(int n, double x) { printf("greet %d, call %d, initialised %d\\n", n, ++calls, ready); if (n == 1) deeper(n); return x / 2; }
    """,
    "libasked.so": "int asked(void) { return 77; }",
}
NEEDS = {"libgreet.so": ["libdeep.so"]}
PROGRAM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
extern double greet(int, double);
extern void never(void);
extern int answer;
int main(int c, char **v) {
  puts("main");
  for (int i = 0; i < 3; i++) printf("%g\\n", greet(i, 2.5 * i));
  if (c > 5) never();
  int (*asked)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "asked");
  printf("%d %d\\n", answer, asked ? asked() : -1);
  return 3;
}
"""


@pytest.fixture
def build(cc: CC, tmp_path: Path) -> Callable[[str], Path]:
    """The program and its libraries in one directory."""

    def make(arch: str) -> Path:
        place = tmp_path / arch
        place.mkdir()
        rpath = "-Wl,-rpath,$ORIGIN"
        for name in ("libnever.so", "libanswer.so", "libdeep.so", "libgreet.so", "libasked.so"):
            needs = [str(place / need) for need in NEEDS.get(name, [])]
            flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-Wl,-z,lazy", "-w", *needs, rpath]
            shutil.copy(cc(LIBRARIES[name], name, *flags, arch=arch), place / name)
        needs = [
            str(place / n) for n in ("libnever.so", "libgreet.so", "libanswer.so", "libasked.so")
        ]
        program = cc(
            PROGRAM, "main", "-Wl,--no-as-needed", *needs, f"-Wl,-rpath-link,{place}", rpath, "-Wl,-z,lazy", "-w",
            arch=arch,
        )  # fmt: skip
        return Path(shutil.copy(program, place / "main"))

    return make


@pytest.mark.parametrize("arch", CPUS)
def test_a_library_at_its_first_call(
    arch: str, build: Callable[[str], Path], rtld_command: list[str], tmp_path: Path
) -> None:
    program = build(arch)
    judge = toolchain.run(toolchain.target(arch), [str(program)])
    assert judge.returncode == 3
    trace = tmp_path / "trace"
    options = [
        *sysroot(arch), "--lazy-load", "--trace=files,bindings", f"--trace-output={trace}",
    ]  # fmt: skip
    done = rtld(rtld_command, arch, program, options=options)
    assert (done.stdout, done.returncode, done.stderr) == (judge.stdout, 3, "")
    told = [line.split("\t", 1)[1] for line in trace.read_text().splitlines()]
    steps = [
        match.group(1)
        for line in told
        if (
            match := re.match(
                r"(calling init: \S*/lib\S+|transferring control|file=\S+ \[0\];  lazy loading from .*)",
                line,
            )
        )
    ]
    home = program.parent
    assert steps == [
        f"calling init: {home}/libanswer.so",  # a variable cannot wait
        "transferring control",
        f"file=libgreet.so [0];  lazy loading from {program} [0]: symbol=greet",
        f"calling init: {home}/libgreet.so",
        f"file=libdeep.so [0];  lazy loading from {home}/libgreet.so [0]: symbol=deeper",
        f"calling init: {home}/libdeep.so",
        f"file=libasked.so [0];  lazy loading from {program} [0]: symbol=asked",
        f"calling init: {home}/libasked.so",
    ]
    assert f"binding file {program} [0] to {home}/libgreet.so [0]: normal symbol `greet'" in told
    assert not any("libnever.so" in line and "generating link map" in line for line in told)


def test_what_is_not_there_matters_when_it_is_called(
    build: Callable[[str], Path], rtld_command: list[str]
) -> None:
    """A library that nobody calls may be missing; one that is called ends the program, in ld.so's words."""
    program = build("arm")
    (program.parent / "libnever.so").unlink()
    options = [*sysroot("arm"), "--lazy-load"]
    assert rtld(rtld_command, "arm", program, options=options).returncode == 3
    assert rtld(rtld_command, "arm", program, options=sysroot("arm")).returncode == 127
    (program.parent / "libdeep.so").unlink()
    done = rtld(rtld_command, "arm", program, options=options)
    assert done.returncode == 127
    assert done.stderr == (
        f"{program}: error while loading shared libraries: libdeep.so: cannot open shared object file: No such file or directory\n"
    )


def test_options_that_exclude_it(build: Callable[[str], Path], rtld_command: list[str]) -> None:
    program = build("arm")
    for other in ("--now", "--interp"):
        done = rtld(rtld_command, "arm", program, options=[*sysroot("arm"), "--lazy-load", other])
        assert done.returncode == 2
        assert f"--lazy-load and {other} exclude each other" in done.stderr


#: What is told of libraries that nobody has called yet, or depends on their being there.
OTHERWISE = {
    "scope/iterate_phdr", "version/missing_version", "resolve/weak_reference_finds_definition",
    "resolve/weak_definition_strong_with_dynamic_weak", "ifunc/of_the_program", "ifunc/relocated_too_late",
}  # fmt: skip


def in_turns() -> list[ParameterSet]:
    """Cases that are not about the order of initialisers, each on one CPU after the other; every other one without RTLD_SLOW."""
    found = []
    for i, case in enumerate(casefile.all_cases()):
        cpus = [arch for arch in CPUS if arch in case.targets]
        if not cpus or "norun" in case.tags or case.cxx:
            continue
        if case.name.startswith("init/") or case.name in OTHERWISE:
            continue
        arch = cpus[i % len(cpus)]
        found.append(pytest.param(case, arch, id=f"{case.name}-{arch}"))
    return found if os.environ.get("RTLD_SLOW") else found[::2]


@pytest.mark.parametrize(("case", "arch"), in_turns())
def test_cases(case: casefile.Case, arch: str, rtld_command: list[str]) -> None:
    want = toolchain.target(arch)
    lacking = toolchain.missing(want)
    if lacking:
        require(lacking)
    place = case.build(want)
    environment = case.environment(place)
    judge = toolchain.run(want, [str(place / "main"), *case.args], environment, cwd=place)
    done = run_case(rtld_command, case, want, place, f"/usr/{want.triplet}", "--lazy-load")
    assert (done.stdout, done.returncode) == (judge.stdout, judge.returncode), done.stderr

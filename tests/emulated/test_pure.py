"""``rtld run --pure``: everything linked by rtld, and no ld.so started; the judge is qemu-user, where ld.so does it all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

import casefile
import muslroot
import toolchain
from conftest import require
from emulated_support import CPUS, rtld, run_case, sysroot

HERE = Path(__file__).parent
CC = Callable[..., Path]
EXCEPTIONS = r"""
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
struct Told { const char *name; Told(const char *n) : name(n) { printf("+%s\n", n); } ~Told() { printf("-%s\n", name); } };
Told everywhere("program");
thread_local Told here("thread");
static void thrown(int n) { Told t("frame"); if (n > 1) throw std::runtime_error("too many: " + std::to_string(n)); }
static void caught(int n) { (void)&here; try { thrown(n); } catch (const std::exception &e) { puts(e.what()); } }
int main() { caught(3); std::thread([] { caught(7); }).join(); }
"""
MEMORY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
  char *from = malloc(1 << 20), *to = malloc(1 << 20);
  for (int n = 1; n < 1 << 19; n = n * 3 / 2 + 1) {
    memset(from, n, 1 << 20), memset(to, 0, 1 << 20), memcpy(to, from, n), memmove(from + 3, from, n);
    for (int i = 0; i < n + 500; i++) if (to[i] != (i < n ? (char)n : 0)) return printf("%d: %d\n", n, i);
  }
  puts("copied");
}
"""


def qemu(arch: str, program: Path, *words: str) -> tuple[str, int]:
    done = toolchain.run(toolchain.target(arch), [str(program), *words])
    return done.stdout, done.returncode


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("mode", [(), ("--now",), ("--lazy-load",)])
def test_hello(mode: tuple[str, ...], arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "hello.c", "hello", "-lm", arch=arch)
    done = rtld(rtld_command, arch, program, "word", options=["--pure", *mode, *sysroot(arch)])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program, "word"), "")


@pytest.mark.parametrize("arch", CPUS)
def test_threads(arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "threads.c", "threads", "-O1", "-pthread", arch=arch)
    done = rtld(rtld_command, arch, program, options=["--pure", *sysroot(arch)])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program), "")


@pytest.mark.parametrize("arch", CPUS)
def test_what_libc_opens_itself(arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "own.c", "own", "-w", "-pthread", "-funwind-tables", arch=arch)
    root = f"/usr/{toolchain.target(arch).triplet}"
    judge = toolchain.run(
        toolchain.target(arch), [str(program)], {"GCONV_PATH": f"{root}/lib/gconv"}
    )
    done = rtld(rtld_command, arch, program, options=["--pure", *sysroot(arch)])
    ours, theirs = done.stdout.splitlines(), judge.stdout.splitlines()
    # The first two are about files that a cross compiler's libraries do not have, and the host may.
    assert (ours[2:], done.returncode, done.stderr) == (theirs[2:], 0, "")


def test_exceptions(cc: CC, rtld_command: list[str]) -> None:
    """C++ and string functions that choose by the CPU, on an emulated x86-64; the native run is the judge."""
    if toolchain.HOST != "x86_64":
        pytest.skip("for x86-64")
    for text, flags in (
        (EXCEPTIONS, ("-xc++", "-pthread")),
        (MEMORY, ("-w",)),
        ((HERE / "own.c").read_text(), ("-w",)),
    ):
        program = cc(text, "program", *flags)
        native = subprocess.run([program], capture_output=True, encoding="utf-8", check=True)
        done = rtld(rtld_command, "x86_64", program, options=["--pure", "--sysroot=/"])
        assert (done.stdout, done.returncode, done.stderr) == (native.stdout, 0, "")


@pytest.mark.parametrize("arch", CPUS)
def test_the_interpreter_is_a_library(arch: str, cc: CC, rtld_command: list[str]) -> None:
    """It is mapped and relocated by us; the kernel's part does not map it, and it is not the first to run."""
    program = cc("int main(void) { return 7; }", "seven", arch=arch)
    interp = Path(toolchain.target(arch).interp).name
    for pure in (True, False):
        options = [*(["--pure"] if pure else []), *sysroot(arch), "--trace=exec,files"]
        done = rtld(rtld_command, arch, program, options=options)
        assert done.returncode == 7
        told = done.stderr.splitlines()
        mapped = [line for line in told if "exec: map:" in line and interp in line]
        placed = [
            line
            for line in told
            if f"/{interp} [0]" in line and "file=" in line and "needed" not in line
        ]
        assert bool(mapped) != pure
        assert bool(placed) == pure


def in_turns() -> list[ParameterSet]:
    """Each case once, on one CPU after the other."""
    found = []
    for i, case in enumerate(casefile.all_cases()):
        cpus = [arch for arch in CPUS if arch in case.targets]
        if cpus and "norun" not in case.tags:
            arch = cpus[i % len(cpus)]
            found.append(pytest.param(case, arch, id=f"{case.name}-{arch}"))
    return found


@pytest.mark.parametrize(("case", "arch"), in_turns())
def test_cases(case: casefile.Case, arch: str, rtld_command: list[str]) -> None:
    want = toolchain.target(arch)
    lacking = toolchain.missing(want, cxx=case.cxx)
    if lacking:
        require(lacking)
    place = case.build(want)
    judge = toolchain.run(
        want, [str(place / "main"), *case.args], case.environment(place), cwd=place
    )
    done = run_case(rtld_command, case, want, place, f"/usr/{want.triplet}", "--pure")
    assert (done.stdout, done.returncode) == (judge.stdout, judge.returncode), done.stderr


def test_musl_is_refused(rtld_command: list[str], tmp_path: Path) -> None:
    try:
        want = muslroot.musl_target("aarch64")
    except muslroot.Unavailable as missing:
        require(str(missing))
        raise
    (tmp_path / "main.c").write_text("int main(void) { return 0; }")
    loader = f"-Wl,--dynamic-linker={want.interp}"
    subprocess.run([want.cc, "main.c", loader, "-o", "main"], cwd=tmp_path, check=True)
    root = muslroot.musl_root("aarch64")
    options = ["--pure", f"--sysroot={root}", f"--bind={root}:{root}:ro"]
    done = rtld(rtld_command, "aarch64", tmp_path / "main", options=options)
    assert done.returncode == 126
    assert "musl's libc.so is the dynamic linker itself" in done.stderr


def test_who_has_no_emulated_cpu(cc: CC, rtld_command: list[str]) -> None:
    program = cc("int main(void) { return 0; }", "nothing", arch="ppc64le")
    for option in ("--pure", "--lazy-load"):
        done = rtld(rtld_command, "ppc64le", program, options=[option])
        assert done.returncode == 126
        assert f"{option}: there is no emulated CPU ppc64le" in done.stderr


@pytest.mark.parametrize("arch", ["aarch64", "i386"])
@pytest.mark.parametrize("size", [0, 1 << 31, 0xFFFFFFFF])
def test_an_impossible_structure(
    size: int, arch: str, cc: CC, rtld_command: list[str], tmp_path: Path
) -> None:
    """_rtld_global_ro of a hostile ld.so: told, and no memory is taken on its word."""
    from rtld.elf.file import ElfFile
    from rtld.elf.scalar import dynsym

    want = toolchain.target(arch)
    program = cc("int main(void) { return 7; }", "seven", arch=arch)
    place = tmp_path / str(Path(want.interp).parent).lstrip("/")
    place.mkdir(parents=True)
    (place / "libc.so.6").write_bytes(Path(f"{want.libraries}/libc.so.6").read_bytes())
    data = bytearray(Path(want.interp).read_bytes())
    file = ElfFile(want.interp)
    assert file.dynamic is not None
    index = dynsym(file).named(b"_rtld_global_ro")[0]
    entry, where = (24, 16) if file.bits == 64 else (16, 8)
    at = file.file_offset(file.dynamic[6] + entry * index + where, 4, "DT_SYMTAB")
    data[at : at + 4] = size.to_bytes(4, "little")
    loader = place / Path(want.interp).name
    loader.write_bytes(data)
    loader.chmod(0o755)
    done = rtld(
        rtld_command, arch, program, options=["--pure", f"--sysroot={tmp_path}", "--timeout=30"]
    )
    assert done.returncode == 126, done.stderr
    assert "--pure: _rtld_global_ro has" in done.stderr

"""Malformed input does no worse than an RtldError: tens of thousands of damaged files through decoder, linker, commands.

The mutants are seeded; a failure names WHAT, file and number. To see one again:

    python tests/fuzz/attempt.py decode NUMBER 1 /tmp/progress FILE...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from conftest import require

HERE = Path(__file__).parent

# Everything a table can be asked for in one small library: versions, TLS, IFUNC, weak, protected, data, COPY targets.
LIBRARY = r"""
__attribute__((weak)) extern int nowhere;
extern int puts(const char *);
__thread int thread_variable = 3;
static __thread char thread_block[100];
int data[8] = {1, 2, 3};
int *pointers[] = {data, data + 1, &nowhere};
const char *names[] = {"one", "two", "three"};
__attribute__((visibility("protected"))) int guarded(void) { return data[0]; }
int old_function(void) { return 1; }
int new_function(void) { return puts(names[0]) + thread_variable + thread_block[1] + guarded(); }
#ifdef VERSIONS
__asm__(".symver old_function, function@V1");
__asm__(".symver new_function, function@@V2");
#else
int function(void) { return new_function(); }
#endif
#ifdef IFUNC
static int chosen(void) { return 7; }
static int (*resolve(void))(void) { return chosen; }
int indirect(void) __attribute__((ifunc("resolve")));
int call_indirect(void) { return indirect(); }
#endif
"""
PROGRAM = r"""
int function(void);
extern int data[8];
extern __thread int thread_variable;
static int *table[64] = {data, data + 3};
int main(void) { return function() + *table[0] + thread_variable; }
"""
MAP = "V1 { global: *; };\nV2 { } V1;\n"

# fmt: off
FILES = {
    # name of the file: (arch, what it is compiled from, flags)
    "all":     ("x86_64",   LIBRARY, ["-DIFUNC", "-DVERSIONS"]),
    "sysv":    ("x86_64",   LIBRARY, ["-DIFUNC", "-Wl,--hash-style=sysv"]),
    "relr":    ("x86_64",   LIBRARY, ["-Wl,-z,pack-relative-relocs"]),
    "i386":    ("i386",     LIBRARY, ["-DIFUNC", "-DVERSIONS"]),
    "arm":     ("arm",      LIBRARY, ["-DVERSIONS"]),
    "aarch64": ("aarch64",  LIBRARY, ["-DIFUNC", "-DVERSIONS"]),
    "s390x":   ("s390x",    LIBRARY, ["-DIFUNC", "-DVERSIONS"]),
    "mips":    ("mips64el", LIBRARY, ["-DVERSIONS"]),
}
# fmt: on
FOREIGN = ("i386", "arm", "aarch64", "s390x", "mips")
SYSTEM = ("/bin/true", "/lib/x86_64-linux-gnu/libdl.so.2", "/lib/x86_64-linux-gnu/libutil.so.1")

# How many mutants each process gets; the issue asks for 20,000 and these are more.
DECODED = 40_000
LINKED = 2_000
COMMANDED = 800
FROZEN = 1_000
PE = 20_000
CHUNKS = 4


@pytest.fixture(scope="module")
def library(cc: Callable[..., Path]) -> Callable[[str], Path]:
    """The good library of that name in FILES, with a program beside it that needs it."""

    def make(name: str) -> Path:
        arch, source, flags = FILES[name]
        if "-DVERSIONS" in flags:
            script = toolchain.compile_all(
                ["version script", MAP], [toolchain.Step("file", "v.map", MAP)]
            )
            flags = [*flags, f"-Wl,--version-script={script}/v.map"]
        return cc(source, "libfuzzed.so", "-O1", "-shared", "-fPIC", *flags, arch=arch)

    return make


def attempts(what: str, first: int, count: int, paths: list[Path], scratch: Path) -> dict[str, int]:
    """Run attempt.py; its failures become ours. The counts of what came out."""
    progress = scratch / "progress"
    progress.write_bytes(b" " * 20)
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONFAULTHANDLER": "1",
    }
    argv = [sys.executable, str(HERE / "attempt.py"), what, str(first), str(count), str(progress)]
    try:
        done = subprocess.run(
            [*argv, *map(str, paths)],
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"{what}: mutant {progress.read_text().strip()} of {paths} never ends")
    if done.returncode:
        pytest.fail(
            f"{what}: mutant {progress.read_text().strip()} of {[str(p) for p in paths]} ended the process "
            f"({done.returncode}):\n{done.stderr[-3000:]}"
        )
    result = json.loads(done.stdout)
    told = "\n\n".join(
        f"mutant {f['number']} of {f['file']}:\n{f['details']}" for f in result["failures"]
    )
    assert not result["failures"], f"{result['outcomes']}\n{told}"
    counts: dict[str, int] = result["outcomes"]
    assert sum(counts.values()) == count
    assert counts.get("fine", 0) < count, counts  # the mutants do damage
    return counts


@pytest.mark.fuzz
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_decode(chunk: int, library: Callable[[str], Path], tmp_path: Path) -> None:
    paths = [library(name) for name in FILES if have(name)]
    paths += [Path(p) for p in SYSTEM if os.path.exists(p) and os.path.getsize(p) < 100_000]
    # each in a directory of its own: attempt.py copies what is beside a file
    alone = []
    for number, path in enumerate(paths):
        place = tmp_path / str(number)
        place.mkdir()
        (place / path.name).write_bytes(path.read_bytes())
        alone.append(place / path.name)
    count = DECODED // CHUNKS
    attempts("decode", chunk * count, count, alone, tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_pe(chunk: int, tmp_path: Path) -> None:
    """20,000 damaged Windows files: those of the test set, of both widths, and two that no linker makes."""
    from pe import windows
    from pe.pefiles import image

    paths = []
    for arch in ("x86_64", "i386"):
        place = windows.build_set(arch, require)
        for name in ("main.exe", "alpha.dll", "gamma.dll"):
            mine = tmp_path / f"{arch}-{name}"
            mine.mkdir()
            for beside in ("alpha.dll", "beta.dll"):
                (mine / beside).write_bytes((place / beside).read_bytes())
            (mine / name).write_bytes((place / name).read_bytes())
            paths.append(mine / name)
    odd = {
        "delay64.dll": image("x", {b"f": 0x1000, b"g": b"beta.f"}, {"beta.dll": [b"f", 3]}, delayed={"a.dll": [b"x"]}),
        "delay32.dll": image("x", {b"f": 0x1000}, {"beta.dll": [b"f"]}, bits=32, lookup=False,
                             delayed={"a.dll": [b"x"]}, delay_version=1),
    }  # fmt: skip
    for name, data in odd.items():
        mine = tmp_path / name.partition(".")[0]
        mine.mkdir()
        (mine / name).write_bytes(data)
        paths.append(mine / name)
    count = PE // CHUNKS
    attempts("pe", chunk * count, count, paths, tmp_path)


def have(name: str) -> bool:
    """Whether there is a compiler for that file; the native ones are never optional."""
    arch = FILES[name][0]
    return name not in FOREIGN or toolchain.missing(toolchain.target(arch), run=False) is None


def program_beside(library: Path, cc: Callable[..., Path], place: Path) -> None:
    """``place/main`` and ``place/libfuzzed.so``."""
    main = cc(
        PROGRAM,
        "main",
        "-no-pie",
        "-fno-pic",
        f"-L{library.parent}",
        "-l:libfuzzed.so",
        "-Wl,-rpath,$ORIGIN",
    )
    (place / "main").write_bytes(main.read_bytes())
    (place / "libfuzzed.so").write_bytes(library.read_bytes())


@pytest.mark.fuzz
@pytest.mark.parametrize("name", ["all", "sysv", "relr"])
def test_library(
    name: str, library: Callable[[str], Path], cc: Callable[..., Path], tmp_path: Path
) -> None:
    place = tmp_path / "good"
    place.mkdir()
    program_beside(library(name), cc, place)
    attempts("library", 0, LINKED, [place / "libfuzzed.so"], tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", ["program", "foreign"])
def test_link(
    kind: str, library: Callable[[str], Path], cc: Callable[..., Path], tmp_path: Path
) -> None:
    place = tmp_path / "good"
    place.mkdir()
    program_beside(library("all"), cc, place)
    if kind == "program":
        attempts("link", 0, LINKED, [place / "main", place / "libfuzzed.so"], tmp_path)
        return
    paths = []
    for name in filter(have, FOREIGN):
        paths.append(place / f"lib{name}.so")
        paths[-1].write_bytes(library(name).read_bytes())
    attempts("link", 0, LINKED, paths, tmp_path)


@pytest.mark.fuzz
def test_command(library: Callable[[str], Path], cc: Callable[..., Path], tmp_path: Path) -> None:
    place = tmp_path / "good"
    place.mkdir()
    program_beside(library("all"), cc, place)
    good = attempts("command", -1, 1, [place / "main"], tmp_path)
    assert good == {"status 0": 1}
    counts = attempts("command", 0, COMMANDED, [place / "main", place / "libfuzzed.so"], tmp_path)
    assert {"status 0", "status 3"} <= counts.keys()


@pytest.mark.fuzz
@pytest.mark.skipif(toolchain.HOST != "x86_64", reason="images are for x86-64")
@pytest.mark.parametrize("what", ["freeze", "image"])
def test_frozen(
    what: str, library: Callable[[str], Path], cc: Callable[..., Path], tmp_path: Path
) -> None:
    from rtld.frozen import freeze

    place = tmp_path / "good"
    place.mkdir()
    program_beside(library("all"), cc, place)
    if what == "image":
        freeze(str(place / "main"), str(place / "image"))
    subject = place / ("image" if what == "image" else "libfuzzed.so")
    attempts(what, 0, FROZEN, [subject], tmp_path)

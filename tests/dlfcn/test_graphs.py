"""Random graphs of libraries with cycles, and scripts of dlopen, call and dlclose: the order is ld.so's."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

GRAPHS = int(os.environ.get("RTLD_GRAPHS", "500"))
BATCH = 25
MOST = 8
SCRIPTS = 3

SOURCE = """
#include <unistd.h>
#define TEXT(n) #n
#define NAME(n) TEXT(n)
#define SAY(t) write(1, t, sizeof t - 1)
#define JOIN(a, n) a##n
#define VALUE(n) JOIN(value, n)
__attribute__((constructor)) static void up(void) { SAY("+" NAME(N) " "); }
__attribute__((destructor)) static void down(void) { SAY("-" NAME(N) " "); }
int VALUE(N)(void) { return N; }
"""

#: int callN(void) { int sum = 0; if (valueM) sum = sum * 8 + valueM(); ...; return sum; }, valueM weak
CALL = """
    .text
    .globl call{n}
    .type call{n}, @function
call{n}:
    push %rbx
    xor %ebx, %ebx
{calls}
    mov %ebx, %eax
    pop %rbx
    ret
    .section .note.GNU-stack,"",@progbits
"""
ONE = """
    .weak value{m}
    mov value{m}@GOTPCREL(%rip), %rax
    test %rax, %rax
    je 1f
    shl $3, %ebx
    call value{m}@PLT
    add %eax, %ebx
1:
"""

#: Runs each line of stdin, "directory script...", in a child of its own, from first dlopen to exit.
DRIVER = """
import sys, os, ctypes, _ctypes
which = sys.argv[1]
if which == "ours":
    import rtld
    rtld.dlopen
def run(directory, script):
    handles = {}
    for step in script:
        verb, n = step[0], int(step[1:])
        path = f"{directory}/libg{n}.so"
        os.write(1, f"[{step}] ".encode())
        if verb in "ogn":
            mode = {"o": 2, "g": 2 | 0x100, "n": 2 | 0x1000}[verb]
            lib = ctypes.CDLL(path, mode) if which == "theirs" else rtld.dlopen(path, mode)
            handles.setdefault(n, []).append(lib)
        elif verb == "c" and handles.get(n):
            os.write(1, f"={handles[n][-1][f'call{n}']()} ".encode())
        elif verb == "x" and handles.get(n):
            lib = handles[n].pop()
            _ctypes.dlclose(lib._handle) if which == "theirs" else lib.close()
    os.write(1, b"[end] ")
for line in sys.stdin.read().splitlines():
    directory, *script = line.split()
    if not os.fork():
        run(directory, script)
        break  # the end of Python, exit(3) and the destructors are part of it
    _pid, status = os.wait()
    os.write(1, b"%d\\n" % status)
"""


def prepare(directory: Path) -> None:
    """What all graphs share: the object of each library, and empty libraries to link with."""
    stub = directory / "stub"
    stub.mkdir()
    (directory / "g.c").write_text(SOURCE)
    empty = directory / "empty.o"
    subprocess.run(["as", "-o", empty], input="", text=True, check=True)
    for n in range(MOST):
        subprocess.run(
            ["gcc", "-c", "-fPIC", "-O1", f"-DN={n}", "-o", directory / f"{n}.o", directory / "g.c"],
            check=True,
        )  # fmt: skip
        subprocess.run(
            ["ld", "-shared", "-o", stub / f"libg{n}.so", "-soname", f"libg{n}.so", empty],
            check=True,
        )  # fmt: skip


def build(shared: Path, directory: Path, rng: random.Random) -> int:
    """A graph of libraries; edges go anywhere, so that there are cycles."""
    count = rng.randrange(2, MOST)
    for n in range(count):
        wanted = [m for m in rng.sample(range(count), rng.randrange(0, min(4, count))) if m != n]
        calls = [m for m in range(count) if m != n and rng.random() < 0.4]
        text = CALL.format(n=n, calls="".join(ONE.format(m=m) for m in calls))
        subprocess.run(["as", "-o", directory / "call.o"], input=text, text=True, check=True)
        flags = ["-z", rng.choice(("lazy", "now"))]
        if rng.random() < 0.1:
            flags += ["-z", "nodelete"]
        if rng.random() < 0.05:
            flags += ["-z", "initfirst"]
        subprocess.run(
            ["ld", "-shared", "-o", directory / f"libg{n}.so", shared / f"{n}.o", directory / "call.o", "-soname", f"libg{n}.so",
             "-rpath", "$ORIGIN", "--no-as-needed", *[shared / "stub" / f"libg{m}.so" for m in wanted], *flags],
            check=True,
        )  # fmt: skip
    return count


def make_script(count: int, rng: random.Random) -> str:
    length = rng.randrange(3, 14)
    return " ".join([rng.choice("ooogncccxxx") + str(rng.randrange(count)) for _ in range(length)])


def run(which: str, lines: list[str]) -> list[str]:
    """What each script printed, and how it ended."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", DRIVER, which],
        input="\n".join(lines), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, GRAPHS, BATCH))
def test_order_is_that_of_ld_so(first: int, tmp_path: Path) -> None:
    prepare(tmp_path)
    lines = []
    for seed in range(first, min(first + BATCH, GRAPHS)):
        rng = random.Random(seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        count = build(tmp_path, directory, rng)
        lines += [f"{directory} {make_script(count, rng)}" for _ in range(SCRIPTS)]
    theirs, ours = run("theirs", lines), run("ours", lines)
    assert len(theirs) == len(lines)
    different = [row for row in zip(lines, theirs, ours, strict=True) if row[1] != row[2]]
    assert not different
    assert sum(line.count(" -") for line in ours) > BATCH

"""Damaged libraries get an exception from dlopen, whatever is in their tables: the machine code that relocates them, too.

Nothing of a mutant is run: no IFUNC resolvers, no initialisers. A mutant may kill the process that tries, so it is another one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent.parent / "fuzz"
SOURCE = """
#include <errno.h>
#include <stdio.h>
__attribute__((weak)) int nobody(void);
static __thread int own; __thread int shared = 3; extern FILE *stdout;
int versioned(void) { return 1; }
__asm__(".globl one\\n.type one,@gnu_unique_object\\n.size one,4\\n.data\\none: .long 1\\n.text"); extern int one;
static int chosen(void) { return 2; } static void *resolve(void) { return chosen; }
int choice(void) __attribute__((ifunc("resolve")));
int (*table[])(void) = { versioned, choice, nobody }; int *where = &one;
int f(void) { own++; shared++; fputs("", stdout); return nobody ? nobody() : choice() + printf("%d", own); }
"""
SCRIPT = """
import collections, json, sys
sys.path.insert(0, sys.argv[1])
from mutants import Mutator
import rtld
from rtld.core.module import Module
from rtld.elf.file import ElfFile
from rtld.errors import RtldError
from rtld.process.inprocess.load import Loading
space = rtld.Namespace()._space
mutator = Mutator(open(sys.argv[2], "rb").read())
first, count = int(sys.argv[3]), int(sys.argv[4])
said = collections.Counter()
for number in [-1, *range(first, first + count)]:
    with open(sys.argv[5], "w") as progress: progress.write(str(number))
    loading = Loading(space, 2)
    try:
        file = ElfFile(mutator.mutant(number), "mutant.so")
        root = Module(file, "mutant.so", -1)
        root.soname = file.soname
        loading.ns.by_name["mutant"] = root
        loading.find("mutant", space.ns.main)
        loading.map(); loading.relocate()
        said["quick" if loading.link is not None else "columns"] += 1
    except RtldError as error:
        said[type(error).__name__] += 1
    finally:
        loading.undo()
print(json.dumps(said))
"""


@pytest.mark.parametrize("flags", ["", "-Wl,-z,pack-relative-relocs"])
@pytest.mark.parametrize("first", [0, 2000])
def test_mutants(first: int, flags: str, lib: Callable[..., str], tmp_path: Path) -> None:
    versions = tmp_path / "v"
    versions.write_text("V1 { global: versioned; }; V2 { global: *; };\n")
    path = lib(SOURCE, f"-Wl,--version-script={versions}", "-Wl,--hash-style=gnu", *flags.split())
    progress = tmp_path / "number"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", SCRIPT, str(FUZZ), path, str(first), "2000", str(progress)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (progress.read_text(), done.stderr[-2000:])
    assert '"quick": ' in done.stdout

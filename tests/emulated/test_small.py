"""The scalar passes (elf/small.py) against the column passes, on programs of other CPUs: REL and RELA, 32 and 64 bits, both orders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld, sysroot
from rtld.elf.load import is_libc_family
from rtld.elf.small import GiveUp, SmallLink
from rtld.process.link import Link, find

CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x", "x86_64")
#: An own thread-local variable, a copied one, addresses in data, a weak function nobody has, a hosted module that changes.
TEXT = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
__thread int mine = 41;
static __thread long own[3] = {1, 2, 3};
__attribute__((noinline)) long *third(void) { return own + 2; }
extern void nobody(void) __attribute__((weak));
void *addresses[] = {&stdout, puts, strlen, &stderr, addresses};
char *names[] = {"one", "two"};
void *malloc(size_t n) { static char room[1 << 16]; static size_t used; used = (used + n + 15) & -16; return room + used - n; }
void free(void *p) {}
int main(int argc, char **argv) {
    mine += argc + *third() - 3;
    printf("%d %s %d %zu\n", mine, names[argc], nobody == 0, strlen(argv[0]) > 0);
    return addresses[4] == addresses && *(FILE **)addresses[0] == stdout ? 3 : 4;
}
"""
SHAPES = {
    "pie": ("-fPIC", "-pie"),
    "fixed": ("-fno-pie", "-no-pie"),
    "now": ("-fPIC", "-pie", "-Wl,-z,now"),
    "lazy": ("-fno-pie", "-no-pie", "-Wl,-z,lazy"),
    "library": ("-fPIC", "-shared", "-ftls-model=global-dynamic"),
    "initial-exec": ("-fPIC", "-shared", "-ftls-model=initial-exec"),
}
PROGRAMS = list(SHAPES)[:4]


def closure(program: Path, arch: str) -> Link:
    """Found, with the libc family hosted."""
    found = find(
        str(program), sysroot=f"/usr/{toolchain.target(arch).triplet}" if arch != "x86_64" else None
    )
    for module in found.modules:
        module.hosted = is_libc_family(module.soname or module.path)
    return found


@pytest.mark.parametrize("lazy", [False, True], ids=["", "slots wait"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("arch", CPUS)
def test_images_are_those_of_the_columns(
    arch: str, shape: str, lazy: bool, cc: Callable[..., Path], tmp_path: Path
) -> None:
    source = tmp_path / "small.c"
    source.write_text(TEXT)
    program = cc(source, "small", "-O1", "-w", "-fno-builtin", *SHAPES[shape], arch=arch)
    ours, theirs = closure(program, arch), closure(program, arch)
    ns = theirs.namespace
    ns.lazy = lazy
    theirs.bind()
    from rtld.elf.link import relocate

    relocate(ns)
    small = SmallLink(ours.namespace)
    try:
        small.bind()
    except GiveUp:
        assert (arch, shape) == ("aarch64", "library")  # its TLS descriptors are the columns'
        return
    pairs = list(zip(ours.modules, theirs.modules, strict=True))
    for mine, other in pairs:
        mine.base = other.base
        mine.tls_id, mine.tls_offset, mine.tls_block = other.tls_id, other.tls_offset, 0
    small.relocate(link_map=lambda _module: 0, binder=0, lazy=lazy)
    compared = 0
    word = ns.arch.word
    for mine, other in pairs:
        if mine.hosted:
            continue
        assert (mine.image.low, mine.image.high) == (other.image.low, other.image.high)
        got = mine.file.dynamic.get(3) or 0
        copied = {
            at
            for copy in ns.copies
            for at in range(copy.place & -word, copy.place + copy.size, word)
        }
        for at in range(mine.image.low, mine.image.high, word):
            if at in copied or got <= at < got + word * ns.arch.got.reserved:
                continue
            assert bytes(mine.image.view(at, word)) == bytes(other.image.view(at, word)), hex(at)
            compared += 1
    assert compared > 100
    key = lambda row: (row.module.path, row.place, row.definer.path, row.source, row.size)  # noqa: E731
    assert sorted(map(key, ours.namespace.copies)) == sorted(map(key, ns.copies))
    from rtld.elf.hosted import hosted_changes

    assert sorted(small.hosted_changes()) == sorted(hosted_changes(ns))
    assert small.hosted_changes()  # malloc is the program's


@pytest.mark.parametrize("shape", PROGRAMS)
@pytest.mark.parametrize("arch", [arch for arch in CPUS if arch != "x86_64"])
def test_it_runs_as_in_qemu(
    arch: str, shape: str, cc: Callable[..., Path], tmp_path: Path, rtld_command: list[str]
) -> None:
    source = tmp_path / "small.c"
    source.write_text(TEXT)
    program = cc(source, "small", "-O1", "-w", "-fno-builtin", *SHAPES[shape], arch=arch)
    done = rtld(rtld_command, arch, program, options=sysroot(arch))
    judge = toolchain.run(toolchain.target(arch), [str(program)])
    assert (done.stdout, done.returncode, done.stderr) == (judge.stdout, judge.returncode, "")
    assert judge.returncode == 3


COUNTS = r"""
__thread long shown = 5;
static __thread long hidden = 7;
long count(void) { return shown++ * 10 + hidden--; }
"""
ASKS = r"""
#include <pthread.h>
#include <stdio.h>
extern __thread long shown;
long count(void);
static void *ask(void *where) { *(long *)where = count() + shown; return 0; }
int main(void) {
    long here = 0, there = 0;
    pthread_t thread;
    count();
    pthread_create(&thread, 0, ask, &there);
    pthread_join(thread, 0);
    ask(&here);
    printf("%ld %ld\n", here, there);
}
"""


@pytest.mark.parametrize("model", ["global-dynamic", "initial-exec"])
@pytest.mark.parametrize("arch", [arch for arch in CPUS if arch != "x86_64"])
def test_thread_local_storage_of_a_library(
    arch: str, model: str, cc: Callable[..., Path], tmp_path: Path, rtld_command: list[str]
) -> None:
    for name, text in (("counts.c", COUNTS), ("asks.c", ASKS)):
        (tmp_path / name).write_text(text)
    flags = ("-fPIC", "-shared", f"-ftls-model={model}")
    library = cc(tmp_path / "counts.c", "libcounts.so", *flags, arch=arch)
    place = library.parent
    link = (f"-L{place}", "-lcounts", f"-Wl,-rpath,{place}", "-pthread")
    program = cc(tmp_path / "asks.c", "asks", *link, arch=arch)
    options = [*sysroot(arch), f"--bind={place}:{place}"]
    done = rtld(rtld_command, arch, program, options=options)
    judge = toolchain.run(toolchain.target(arch), [str(program)])
    assert (done.stdout, done.returncode, done.stderr) == (judge.stdout, judge.returncode, "")
    assert judge.stdout == "73 63\n"


SPOILS = r"""
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    for (ElfW(Dyn) *d = _DYNAMIC; d->d_tag; d++)
        if (d->d_tag == DT_PLTGOT) ((unsigned long *)d->d_un.d_ptr)[1] = 999;
    return abs(puts("not bound"));
}
"""


@pytest.mark.parametrize("arch", [arch for arch in CPUS if arch != "x86_64"])
def test_a_plt_that_is_nobodys(
    arch: str, cc: Callable[..., Path], tmp_path: Path, rtld_command: list[str]
) -> None:
    source = tmp_path / "spoils.c"
    source.write_text(SPOILS)
    flags = ("-fno-pie", "-no-pie", "-Wl,-z,lazy", "-Wl,-z,norelro", "-fno-builtin")
    program = cc(source, "spoils", "-w", *flags, arch=arch)
    done = rtld(rtld_command, arch, program, options=sysroot(arch))
    assert (done.stdout, done.returncode) == ("", 127)
    assert "a PLT's link map is 0x3e7, which is nobody's" in done.stderr

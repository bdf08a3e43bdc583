"""Relocated words of live processes equal ours: RELRO, GOT, data, TPOFF and DTPMOD words of installed programs.

Each program is stopped by a preload after ld.so has relocated everything and before the first initialiser.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from live.memory import compare, link_like
from live.sample import is_secure, programs
from live.stopped import stopped
from rtld.elf.initfini import init_first

pytestmark = pytest.mark.live

#: glibc 2.36 has 13.
LIBC_WORDS = 40


def check(program: str, stop: str) -> dict[str, int]:
    with stopped(program, stop) as process:
        ns = link_like(process, stop)
        # Another DF_1_INITFIRST module would have run before we stopped.
        assert os.path.realpath(init_first(ns.init_order, ns.modules)[0].path) == os.path.realpath(
            stop
        )
        result = compare(process, ns)
    assert result.differences == []
    assert result.words["libc"] <= LIBC_WORDS
    return dict(result.words)


@pytest.mark.parametrize("program", programs())
def test_writable_words(program: str, stop: str, require: Callable[[str], None]) -> None:
    if not os.path.exists(program):
        require(program)
    if is_secure(program):
        pytest.skip("started with privileges, so without our preload")
    words = check(program, stop)
    # A non-PIE of an old linker may have no RELRO; libc has.
    assert words["relro"] > 1000


TLS_LIBRARY = """
_Thread_local char small_N = N;
_Thread_local char block_N[N * 40 + 3] __attribute__((aligned(ALIGN))) = {N};
static _Thread_local int mine[5];
extern _Thread_local char block_1[];
int *get_N(void) { return mine; }
char *own_N(void) { return block_N; }
char *other_N(void) { return block_1; }
"""

TLS_PROGRAM = """
extern _Thread_local char block_3[];
_Thread_local int before[7] __attribute__((aligned(32)));
int *get_1(void), *get_2(void), *get_3(void), *get_4(void);
int main(void) { return get_1() == get_2() && get_3() == get_4() && block_3[0] == before[3]; }
"""


def test_thread_local_words(cc: Callable[..., Path], stop: str) -> None:
    """DTPMOD, DTPOFF, TPOFF and TLS descriptors, in blocks of odd sizes and alignments that leave gaps to fill."""
    libraries: list[str] = []
    for number, (align, dialect) in enumerate(
        [(64, "gnu"), (4, "gnu2"), (128, "gnu2"), (8, "gnu")], 1
    ):
        text = TLS_LIBRARY.replace("N", str(number)).replace("ALIG" + str(number), str(align))
        flags = ["-shared", "-fPIC", "-O1", f"-mtls-dialect={dialect}"]
        flags += ["-ftls-model=initial-exec"] if number == 4 else []
        flags += [f"-Wl,-soname,libtls{number}.so", *(libraries[:1])]
        libraries.append(str(cc(text, f"libtls{number}.so", *flags)))
    where = ":".join(os.path.dirname(path) for path in libraries)
    program = cc(TLS_PROGRAM, "tls", *libraries, f"-Wl,-rpath,{where}")
    with stopped(str(program), stop) as process:
        ns = link_like(process, stop)
        counts = [name for module in ns.modules for name in ns.counts.get(module, {})]
        result = compare(process, ns)
    assert result.differences == []
    assert {
        "R_X86_64_DTPMOD64",
        "R_X86_64_DTPOFF64",
        "R_X86_64_TPOFF64",
        "R_X86_64_TLSDESC",
    } <= set(counts)
    assert result.words["tlsdesc"] >= 4

"""Relocated words on every CPU: a program dumps its own memory under qemu-user, and ours must be the same.

Pointers with addends, functions and data of other modules, undefined weak symbols, COPY, every TLS model, versions.
Compared are all writable words of the program and its libraries (libc and ld.so change theirs before main() is called).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import toolchain
from rtld.core.module import Module, Namespace
from rtld.elf import types as t
from rtld.elf.file import ElfFile
from rtld.elf.link import bind, find_closure, open_namespace, relocate
from rtld.elf.search import SearchOptions

ONE = r"""
__thread int t1 = 5;
__thread char t2[37] __attribute__((aligned(64))) = {1};
static __thread int mine;
extern __thread int t3 __attribute__((tls_model("initial-exec")));
extern __thread short t4[];
extern __thread int nothread __attribute__((weak));
int data1[4] = {1, 2, 3, 4};
extern int data2[];
extern int nowhere __attribute__((weak));
int nofunction(void) __attribute__((weak));
int f2(void);
int f1(void) { return data2[0] + f2(); }
static int local(void) { return 1; }
void *words1[] = {&data1[1], f1, f2, local, &data2[3], &nowhere, nofunction, (char *)data1 - 8, words1};
int *g1(void) { return &t1; }
char *g2(void) { return t2; }
int *g3(void) { return &mine; }
int *g4(void) { return &t3; }
short *g5(void) { return t4 + 1; }
int *g6(void) { return &nothread; }
"""
TWO = r"""
__thread int t3 = 7;
__thread short t4[5];
int data2[6] = {6};
int data1[4] = {9};
int f1_old(void) { return 1; }
int f1_new(void) { return 2; }
__asm__(".symver f1_old, f1@V1");
__asm__(".symver f1_new, f1@@V2");
int f2(void) { return 3; }
int f1(void);
void *words2[] = {data1, f1, f2, &data2[1]};
short *h1(void) { return t4; }
int h2(void) { return f1(); }
"""
SCRIPT = "V1 { global: f1; };\nV2 { global: f1; f2; data1; data2; t3; t4; words2; h1; h2; } V1;\n"
MAIN = r"""
extern int data1[4], data2[6];
extern __thread int t1, t3;
__thread long t0[3] = {1};
int f1(void), f2(void), h2(void);
short *h1(void), *g5(void);
void dump(const char *);
int *g1(void), *g4(void);
void *words0[] = {&data1[2], f1, f2, words0 + 3, dump};
int main(int argc, char **argv) {
    dump(argv[1]);
    return f1() + h2() + data1[0] + data2[0] + t1 + t3 + t0[1] + *g1() + *g4() + *h1() + *g5() == 0;
}
"""
TARGETS = [name for name, target in toolchain.TARGETS.items() if target.libc == "glibc"]
#: Compilers with a choice of how general-dynamic TLS is done.
DESCRIPTORS = {"x86_64": "gnu2", "i386": "gnu2", "arm": "gnu2", "aarch64": "desc"}
CASES = [(name, "") for name in TARGETS] + list(DESCRIPTORS.items())


class Dumped(NamedTuple):
    base: int
    segments: dict[int, bytes]


def build(want: toolchain.Target, dialect: str, pie: bool) -> Path:
    source = Path(__file__).with_name("dump.c").read_text()
    tls = [f"-mtls-dialect={dialect}"] if dialect else []
    shared = [want.cc, "-O1", "-w", "-fno-builtin", "-shared", "-fPIC", *tls]
    kind = ["-fPIE", "-pie"] if pie else ["-fno-pie", "-no-pie"]
    loader = [f"-Wl,--dynamic-linker={want.interp}"] if want.interp else []
    link = ["-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", "libone.so", "libtwo.so"]
    main = [want.cc, "-O1", "-w", "-fno-builtin", *kind, *loader, "main.c", "dump.c"]
    steps: list[toolchain.Step | list[str]] = [
        toolchain.Step("file", "two.map", SCRIPT),
        toolchain.Step("file", "two.c", TWO),
        toolchain.Step("file", "one.c", ONE),
        toolchain.Step("file", "main.c", MAIN),
        toolchain.Step("file", "dump.c", source),
        [*shared, "two.c", "-Wl,--version-script=two.map,-soname,libtwo.so", "-o", "libtwo.so"],
        [*shared, "one.c", "libtwo.so", "-Wl,-soname,libone.so,-rpath,$ORIGIN", "-o", "libone.so"],
        [*main, *link, "-o", "main"],
    ]
    key = [want.name, dialect, str(pie), toolchain.version_of(want.cc)]
    key += [step.text if isinstance(step, toolchain.Step) else " ".join(step) for step in steps]
    return toolchain.compile_all(key, steps) / "main"


def read_dump(data: bytes) -> dict[str, Dumped]:
    """The modules of a dump by base name; the program's is ""."""
    found: dict[str, Dumped] = {}
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        words = data[at:end].decode().split(" ")
        at = end + 1
        if words[0] == "module":
            last = found[os.path.basename(words[1])] = Dumped(int(words[2], 16), {})
        else:
            size = int(words[2], 16)
            last.segments[int(words[1], 16)] = data[at : at + size]
            at += size + 1
    return found


def link_like(program: str, dumped: dict[str, Dumped], env: dict[str, str]) -> Namespace:
    file = ElfFile(program)
    ns = open_namespace(file, program, SearchOptions(env=env))
    find_closure(ns, file, program)
    bind(ns)
    for module in ns.modules:
        name = "" if module is ns.main else os.path.basename(module.path)
        module.base = dumped[name].base
    return relocate(ns)


def differences(ns: Namespace, module: Module, dumped: Dumped) -> tuple[int, list[str]]:
    """How many words were compared, and those that are not the same."""
    word, order = module.file.bits // 8, module.file.order
    order_of = ns.arch.tls.descriptor
    expected = {
        d.place + word * order_of.index("argument"): d.offset + d.addend
        for d in ns.descriptors
        if d.offset is not None
    }
    # The argument of a descriptor that nobody defines means nothing.
    ignored = {d.place + word * n for d in ns.descriptors for n in (0, 1)} - set(expected)
    if module.file.machine == t.EM_RISCV and t.DT_PLTGOT in module.file.dynamic:
        # The words for lazy binding, which ld.so fills whether it binds lazily or not.
        got = module.base + module.file.dynamic[t.DT_PLTGOT]
        ignored |= {got, got + word}
    dynamic = module.file.segment(t.PT_DYNAMIC)
    assert dynamic is not None
    found, count = [], 0
    for vaddr, data in dumped.segments.items():
        low = vaddr + -vaddr % word
        data = data[low - vaddr : len(data) - (vaddr + len(data)) % word]
        live = np.frombuffer(data, f"{order}u{word}")
        mine: NDArray[np.uint64] = np.array(module.image.view(low, len(data))).view(live.dtype)
        count += len(live)
        for index in np.flatnonzero(live != mine).tolist():
            place = low + word * index
            address = module.base + place
            theirs, ours = int(live[index]), int(mine[index])
            if address in expected:
                ours = expected[address] % (1 << 8 * word)
            # ld.so writes absolute addresses into its view of the dynamic section.
            inside = dynamic.vaddr <= place < dynamic.vaddr + dynamic.memsz
            if inside or address in ignored or theirs == ours or is_debug_word(module, place):
                continue
            found.append(f"{module.path}: {place:#x}: ld.so {theirs:#x}, rtld {ours:#x}")
    return count, found


def is_debug_word(module: Module, place: int) -> bool:
    """MIPS, whose dynamic section is read-only: the word that leads a debugger to ld.so (DT_MIPS_RLD_MAP*)."""
    dynamic = module.file.dynamic
    if module.file.machine != t.EM_MIPS or dynamic is None:
        return False
    segment = module.file.segment(t.PT_DYNAMIC)
    assert segment is not None
    for index, (tag, value) in enumerate(dynamic.entries):
        own = segment.vaddr + index * module.file.bits // 4
        if (tag == t.DT_MIPS_RLD_MAP_REL and own + value == place) or (
            tag == t.DT_MIPS_RLD_MAP and value == place
        ):
            return True
    return False


@pytest.mark.parametrize("pie", [True, False], ids=["pie", "fixed"])
@pytest.mark.parametrize(("name", "dialect"), CASES)
def test_relocated_words(
    name: str, dialect: str, pie: bool, tmp_path: Path, require: Callable[[str], None]
) -> None:
    want = toolchain.TARGETS[name]
    lacking = toolchain.missing(want)
    if lacking:
        require(lacking)
    program = build(want, dialect, pie)
    memory = tmp_path / "memory"
    env = {"LD_BIND_NOW": "1"}
    done = toolchain.run(want, [str(program), str(memory)], env)
    assert done.returncode == 0, done.stderr
    dumped = read_dump(memory.read_bytes())
    ns = link_like(str(program), dumped, toolchain.environment(want, env))
    own = [m for m in ns.modules if not m.is_libc_family]
    assert len(own) == 3
    types = {kind for module in own for kind in ns.counts.get(module, {})}
    if not pie and want.arch not in (
        "ppc64le",
        "mips64el",
        "mipsel",
    ):  # they reach data through TOC and GOT
        assert any("COPY" in kind for kind in types)
    assert bool(ns.descriptors) == (bool(dialect) or want.arch == "aarch64")
    total = 0
    for module in own:
        count, wrong = differences(
            ns, module, dumped["" if module is ns.main else os.path.basename(module.path)]
        )
        assert wrong == []
        total += count
    assert total > 100

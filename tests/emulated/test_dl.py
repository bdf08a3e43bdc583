"""What a program on an emulated CPU gets from dlopen and its relatives is what glibc answers under qemu-user."""

from __future__ import annotations

from pathlib import Path

import pytest

import toolchain
from conftest import require
from emulated_support import rtld, sysroot
from toolchain import Step

HERE = Path(__file__).parent
CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")
FILES = {
    "first.c": """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        int who(void) { return 1; }
        int wrapped(int n) { int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "wrapped"); return 100 + next(n); }
    """,
    "second.c": "int who(void) { return 2; }\nint wrapped(int n) { return n + 1; }",
    "a.c": """
        #include <stdio.h>
        __thread int tls_of_a = 31;
        static int count;
        int v1(void) { return 1; }
        int v2(void) { return 2; }
        int bump(void) { return ++count; }
        __asm__(".symver v1,both@V1");
        __asm__(".symver v2,both@@V2");
        __attribute__((destructor)) static void down(void) { printf("a goes after %d\\n", count); fflush(stdout); }
    """,
    "plug.c": "extern int bump(void);\nint plug(void) { return 50 + bump(); }",
    "a.map": "V1 { global: tls_of_a; bump; local: v1; v2; };\nV2 { };",
}


def build(arch: str) -> Path:
    want = toolchain.target(arch)
    lacking = toolchain.missing(want)
    if lacking:
        require(lacking)
    text = (HERE / "dl.c").read_text()
    shared = [want.cc, "-shared", "-fPIC", "-w"]
    rpath = "-Wl,-rpath,$ORIGIN"
    commands: list[list[str] | Step] = [
        Step("file", "dl.c", text),
        *[Step("file", name, content) for name, content in FILES.items()],
        [*shared, "second.c", "-o", "libsecond.so"],
        [*shared, "first.c", "-o", "libfirst.so"],
        [*shared, "a.c", "-Wl,--version-script=a.map", "-o", "liba.so"],
        [*shared, "plug.c", "liba.so", "-Wl,-soname,libplug.so", rpath, "-o", "libplug.so"],
        [
            want.cc, "dl.c", "-w", "-rdynamic", "-Wl,--no-as-needed", "libfirst.so", "libsecond.so", rpath,
            f"-Wl,--dynamic-linker={want.interp}", "-o", "dl",
        ],
    ]  # fmt: skip
    words = [" ".join(c) if isinstance(c, list) else f"{c.name} {c.text}" for c in commands]
    return toolchain.compile_all([toolchain.version_of(want.cc), *words], commands)


@pytest.mark.parametrize("arch", CPUS)
def test_answers(arch: str, rtld_command: list[str]) -> None:
    program = build(arch) / "dl"
    judge = toolchain.run(toolchain.target(arch), [str(program)])
    assert judge.returncode == 0, judge.stdout + judge.stderr
    done = rtld(rtld_command, arch, program, options=sysroot(arch))
    assert done.stdout.splitlines() == judge.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")

"""Thread-local storage of what is opened while threads begin and end: none of them may miss an initial image."""

from __future__ import annotations

from pathlib import Path

import pytest

import toolchain
from conftest import require
from emulated_support import CPUS, rtld, sysroot
from toolchain import Step

HERE = Path(__file__).parent
LIBRARIES = 16
LIBRARY = "__thread int variable = 77, more[70];\nint get(void) { return variable++ + more[0]; }"
LARGE = "__thread char large[40000];\nchar *get(void) { return large; }"


def build(arch: str) -> Path:
    want = toolchain.target(arch)
    lacking = toolchain.missing(want)
    if lacking:
        require(lacking)
    text = (HERE / "early.c").read_text()
    commands: list[list[str] | Step] = [
        Step("file", "early.c", text),
        Step("file", "stacks.c", (HERE / "stacks.c").read_text()),
        Step("file", "tls.c", LIBRARY),
        Step("file", "large.c", LARGE),
        *[[want.cc, "-shared", "-fPIC", "tls.c", "-o", f"libtls{i}.so"] for i in range(LIBRARIES)],
        [want.cc, "-shared", "-fPIC", "large.c", "-o", "liblarge.so"],
        *[
            [want.cc, f"{name}.c", "-pthread", f"-Wl,--dynamic-linker={want.interp}", "-o", name]
            for name in ("early", "stacks")
        ],
    ]
    words = [" ".join(c) if isinstance(c, list) else f"{c.name} {c.text}" for c in commands]
    return toolchain.compile_all([toolchain.version_of(want.cc), *words], commands)


@pytest.mark.parametrize("option", [(), ("--pure",)], ids=["anchor", "pure"])
@pytest.mark.parametrize("arch", CPUS)
def test_threads_that_begin_meanwhile(
    arch: str, option: tuple[str, ...], rtld_command: list[str]
) -> None:
    """libc makes a thread's block some time before it calls clone, and uses blocks of dead threads again."""
    program = build(arch) / "early"
    want = f"{LIBRARIES} libraries, 0 wrong\n"
    folder = str(program.parent)
    assert toolchain.run(toolchain.target(arch), [str(program), folder]).stdout == want
    options = [*sysroot(arch), f"--bind={folder}:{folder}", *option]
    done = rtld(rtld_command, arch, program, folder, options=options)
    assert (done.stdout, done.stderr, done.returncode) == (want, "", 0)


@pytest.mark.parametrize("option", [(), ("--pure",)], ids=["anchor", "pure"])
@pytest.mark.parametrize("arch", ["arm", "i386", "s390x"])
def test_room_for_blocks(arch: str, option: tuple[str, ...], rtld_command: list[str]) -> None:
    """It is a part of every thread's stack, so there is little; what libraries have had that are closed is used again."""
    program = build(arch) / "stacks"
    folder = str(program.parent)
    judge = toolchain.run(toolchain.target(arch), [str(program), folder])
    assert (judge.stdout, judge.returncode) == ("large: 1\n", 0)
    options = [*sysroot(arch), f"--bind={folder}:{folder}", *option]
    done = rtld(rtld_command, arch, program, folder, options=options)
    assert (done.stdout, done.stderr) == ("large: 0\n", "")
    more = "--env=GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536"
    done = rtld(rtld_command, arch, program, folder, options=[*options, more])
    assert done.stdout.splitlines()[-1] == "large: 1"

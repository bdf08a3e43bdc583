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
LIBRARY = "__thread int variable = 77;\nint get(void) { return variable++; }"


def build(arch: str) -> Path:
    want = toolchain.target(arch)
    lacking = toolchain.missing(want)
    if lacking:
        require(lacking)
    text = (HERE / "early.c").read_text()
    commands: list[list[str] | Step] = [
        Step("file", "early.c", text),
        Step("file", "tls.c", LIBRARY),
        *[[want.cc, "-shared", "-fPIC", "tls.c", "-o", f"libtls{i}.so"] for i in range(LIBRARIES)],
        [want.cc, "early.c", "-pthread", f"-Wl,--dynamic-linker={want.interp}", "-o", "early"],
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

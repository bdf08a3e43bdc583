"""MIPS on emulated CPUs: libraries, thread-local storage, exceptions, lazy stubs; and what is refused, in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld, sysroot

HERE = Path(__file__).parent
CPUS = ("mips64el", "mipsel")

CC = Callable[..., Path]


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("mode", [[], ["--now"], ["--interp"]], ids=["lazy", "now", "interp"])
def test_libraries(mode: list[str], arch: str, cc: CC, rtld_command: list[str]) -> None:
    """Data and thread-local storage of a library, dlopen, a plugin, threads, unwinding."""
    own = cc(
        HERE / "bundle_lib.c", "libown.so", "-shared", "-fPIC", "-funwind-tables", "-Wl,-soname,libown.so", arch=arch,
    )  # fmt: skip
    flags = (f"-L{own.parent}", "-lown", f"-Wl,-rpath,{own.parent}")
    plugin = cc(HERE / "bundle_plugin.c", "plugin.so", "-shared", "-fPIC", *flags, arch=arch)
    program = cc(
        HERE / "bundle.c",
        "bundle",
        "-pthread",
        "-funwind-tables",
        "-ldl",
        *flags,
        "-lgcc_s",
        arch=arch,
    )
    binds = [f"--bind={path.parent}:{path.parent}:ro" for path in (own, plugin)]
    options = [*mode, *sysroot(arch), *binds, "--env=HOME="]
    done = rtld(rtld_command, arch, program, str(plugin), options=options)
    plain = toolchain.run(toolchain.target(arch), [str(program), str(plugin)], {"HOME": ""})
    assert plain.returncode == 42
    assert (done.stdout, done.returncode) == (plain.stdout, 42), done.stderr


@pytest.mark.parametrize("arch", CPUS)
def test_stubs_are_bound_at_their_first_call(arch: str, cc: CC, rtld_command: list[str]) -> None:
    text = "#include <stdio.h>\n#include <stdlib.h>\nstatic int __attribute__((noinline)) say(char *s) { return puts(s) < 0; }\nint main(int c, char **v) { if (c > 9) abort(); return say(v[0]) | say(v[0]); }"
    program = cc(text, "stubs", "-Wl,-z,lazy", "-fno-builtin", arch=arch)
    done = rtld(rtld_command, arch, program, options=[*sysroot(arch), "--trace=bindings"])
    bound = [line for line in done.stderr.splitlines() if "`puts'" in line]
    assert done.returncode == 0
    assert len(bound) == 1
    assert not any("`abort'" in line for line in done.stderr.splitlines())


def test_exceptions(cc: CC, rtld_command: list[str]) -> None:
    library = cc(HERE / "bundle_lib.cc", "libthrow.so", "-shared", "-fPIC", arch="mips64el")
    flags = (f"-L{library.parent}", "-lthrow", f"-Wl,-rpath,{library.parent}")
    program = cc(HERE / "bundle.cc", "bundle", "-pthread", *flags, arch="mips64el")
    options = [*sysroot("mips64el"), f"--bind={library.parent}:{library.parent}:ro"]
    done = rtld(rtld_command, "mips64el", program, options=options)
    plain = toolchain.run(toolchain.target("mips64el"), [str(program)])
    assert plain.returncode == 3
    assert (done.stdout, done.returncode) == (plain.stdout, 3), done.stderr


def test_what_is_refused(cc: CC, rtld_command: list[str]) -> None:
    """n64 programs for fixed addresses stand where Unicorn reaches nothing: qemu-user runs them."""
    program = cc("int main(void) { return 5; }", "fixed", "-static", arch="mips64el")
    done = rtld(rtld_command, "mips64el", program, options=["--backend=emulated"])
    assert done.returncode == 126
    assert "--backend qemu" in done.stderr
    done = rtld(rtld_command, "mips64el", program, options=[])
    assert done.returncode == 5
    assert "run by qemu-mips64el" in done.stderr
    program = cc("int main(void) { return 5; }", "moved", arch="mips64el")
    done = rtld(rtld_command, "mips64el", program, options=["--gdb=0"])
    assert "gdb cannot debug MIPS" in done.stderr


@pytest.mark.parametrize("arch", CPUS)
def test_a_fault_is_told(arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc("int main(void) { return *(volatile int *)16; }", "bad", "-O1", arch=arch)
    done = rtld(rtld_command, arch, program, options=sysroot(arch))
    assert done.returncode == -11
    assert "0x10" in done.stderr
    assert "main" in done.stderr

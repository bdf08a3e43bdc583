"""Programs linked here and run by qemu-user: what they write and how they end is what plain qemu-user says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain

HERE = Path(__file__).parent
#: Those without an engine go to qemu-user by themselves.
ALONE = ("ppc64le",)
CPUS = (*ALONE, "mips64el", "mipsel", "aarch64", "arm", "i386", "riscv64", "s390x")

CC = Callable[..., Path]


def build(arch: str, cc: CC, *flags: str) -> tuple[Path, Path]:
    """The program, a plugin."""
    own = cc(
        HERE / "bundle_lib.c",
        "libown.so",
        "-shared",
        "-fPIC",
        "-funwind-tables",
        "-Wl,-soname,libown.so",
        arch=arch,
    )
    plugin = cc(
        HERE / "bundle_plugin.c", "plugin.so", "-shared", "-fPIC", f"-L{own.parent}", "-lown",
        f"-Wl,-rpath,{own.parent}", arch=arch,
    )  # fmt: skip
    program = cc(
        HERE / "bundle.c", "bundle", *flags, "-pthread", "-funwind-tables", "-ldl", f"-L{own.parent}", "-lown", "-lgcc_s",
        f"-Wl,-rpath,{own.parent}", arch=arch,
    )  # fmt: skip
    return program, plugin


def bundled(
    command: list[str], arch: str, program: Path, *words: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    more = () if arch in ALONE else ("--backend=qemu",)
    env = {
        **toolchain.environment(toolchain.target(arch)),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    return subprocess.run(
        [*command, "run", *more, *options, "--", str(program), *words],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("form", ["pie", "fixed"])
def test_bundle(form: str, arch: str, cc: CC, rtld_command: list[str]) -> None:
    flags = () if form == "pie" else ("-no-pie", "-fno-pic")
    program, plugin = build(arch, cc, *flags)
    done = bundled(rtld_command, arch, program, str(plugin))
    plain = toolchain.run(toolchain.target(arch), [str(program), str(plugin)])
    assert plain.returncode == 42
    assert done.stdout == plain.stdout, done.stderr
    assert done.returncode == 42
    assert "linked here, run by qemu-" in done.stderr


@pytest.mark.parametrize("arch", ["ppc64le", "mips64el"])
def test_c_plus_plus(arch: str, cc: CC, rtld_command: list[str]) -> None:
    """Exceptions across libraries, thread_local, threads, iostreams."""
    library = cc(HERE / "bundle_lib.cc", "libthrow.so", "-shared", "-fPIC", arch=arch)
    flags = (f"-L{library.parent}", "-lthrow", f"-Wl,-rpath,{library.parent}")
    program = cc(HERE / "bundle.cc", "bundle", "-pthread", *flags, arch=arch)
    done = bundled(rtld_command, arch, program)
    plain = toolchain.run(toolchain.target(arch), [str(program)])
    assert plain.returncode == 3
    assert (done.stdout, done.returncode) == (plain.stdout, 3), done.stderr


def test_interp(cc: CC, rtld_command: list[str]) -> None:
    program, plugin = build("ppc64le", cc)
    done = bundled(rtld_command, "ppc64le", program, str(plugin), options=("--interp",))
    assert done.returncode == 42
    assert "its own dynamic linker links it" in done.stderr


def test_trace(cc: CC, rtld_command: list[str]) -> None:
    """What is bound here is told as ever."""
    program, plugin = build("mips64el", cc)
    done = bundled(rtld_command, "mips64el", program, str(plugin), options=("--trace=bindings",))
    assert done.returncode == 42
    assert any(
        "bundle" in line and "libown.so" in line and "`bump'" in line
        for line in done.stderr.splitlines()
    )


def test_what_is_missing(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Nobody defines it: said in ld.so's words, and nothing is left behind."""
    library = cc("int gone(void) { return 1; }", "libgone.so", "-shared", "-fPIC", arch="ppc64le")
    program = cc(
        "int gone(void); int main(void) { return gone(); }",
        "wants",
        f"-L{library.parent}",
        "-lgone",
        arch="ppc64le",
    )
    done = bundled(rtld_command, "ppc64le", program)
    assert done.returncode == 127
    assert "libgone.so: cannot open shared object file" in done.stderr


def test_without_qemu(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program, _ = build("ppc64le", cc)
    done = subprocess.run(
        [*rtld_command, "run", str(program)], env={"PATH": str(tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 126
    assert "qemu-ppc64le runs its programs" in done.stderr

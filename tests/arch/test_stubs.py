"""Machine code stubs: the bytes on the left are what an assembler makes of the text on the right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtld.arch import ARCHES, by_name, kernels
from rtld.arch.base import Stub
from rtld.arch.calling import CALLED, convention
from rtld.arch.x86_64_bind import BIND
from rtld.arch.x86_64_dynamic import DYNAMIC
from rtld.arch.x86_64_ldcache import LDCACHE
from rtld.arch.x86_64_link import LINK
from rtld.arch.x86_64_open import OPEN
from rtld.arch.x86_64_prepare import PREPARE
from rtld.arch.x86_64_relocate import RELOCATE
from rtld.arch.x86_64_relr import RELR
from rtld.arch.x86_64_symbol import SYMBOL
from rtld.arch.x86_64_versions import VERSIONS
from rtld.core.terms import A, P, S

# fmt: off
ASSEMBLERS = {
    "x86_64":      ("x86_64-linux-gnu-", ["--64"]),
    "i386":        ("i686-linux-gnu-", ["--32"]),
    "aarch64":     ("aarch64-linux-gnu-", []),
    "arm":         ("arm-linux-gnueabihf-", ["-mfpu=vfpv3-d16"]),
    "riscv64":     ("riscv64-linux-gnu-", []),
    "s390x":       ("s390x-linux-gnu-", []),
    "ppc64le":     ("powerpc64le-linux-gnu-", []),
    "mips64el":    ("mips64el-linux-gnuabi64-", []),
    "mipsel":      ("mipsel-linux-gnu-", ["-mabi=32", "-mips32r2"]),
    "loongarch64": ("loongarch64-linux-gnu-", []),
}
# fmt: on


#: Before the text: MIPS' own assembler would fill delay slots itself.
FIRST = {"mips64el": ".set noreorder", "mipsel": ".set noreorder"}


def stubs(name: str) -> dict[str, Stub]:
    """All machine code that is in the CPU's files."""
    called = {"call": convention(name).stub} if name in CALLED else {}
    return {**by_name(name).stubs, **kernels(name), **called}


STUBS = [(name, stub) for name in ARCHES for stub in stubs(name)]


@pytest.mark.parametrize(("name", "which"), STUBS)
def test_bytes_are_the_assembly(name: str, which: str, tmp_path: Path) -> None:
    stub = stubs(name)[which]
    prefix, options = ASSEMBLERS[name]
    if not shutil.which(prefix + "as"):
        if os.environ.get("RTLD_REQUIRE") == "all":
            pytest.fail(f"no {prefix}as")
        pytest.skip(f"no {prefix}as")
    source, objfile, flat = tmp_path / "s.s", tmp_path / "s.o", tmp_path / "s.bin"
    source.write_text("\n".join((FIRST.get(name, ""), *stub.assembly, "")))
    subprocess.run([prefix + "as", *options, "-o", objfile, source], check=True)
    subprocess.run([prefix + "objcopy", "-O", "binary", "-j", ".text", objfile, flat], check=True)
    made = flat.read_bytes()
    assert made[: len(stub)] == stub.code
    assert not any(
        made[len(stub) :].replace(b"\x90", b"").replace(b"\x07", b"")
    )  # padding of the section at most


def test_text_and_holes() -> None:
    stub = Stub(
        """
        # comment
        41 53              push  %r11
        ff 35 00 00 00 00  push  0(%rip)
        """,
        holes={"map": (4, S + A - P)},
    )
    assert stub.code == bytes.fromhex("4153 ff3500000000")
    assert stub.assembly == ("push %r11", "push 0(%rip)")
    assert len(stub) == 8
    filled = stub.fill(0x1000, {"map": {"S": 0x2000, "A": -4}})
    assert filled == bytes.fromhex("4153 ff35") + (0x2000 - 4 - 0x1004).to_bytes(4, "little")
    assert stub.fill(0, {"map": {"S": 1, "A": 4}}, ">")[4:] == (1).to_bytes(4, "big")


KERNELS = {
    "bind": BIND, "versions": VERSIONS, "relr": RELR, "open": OPEN, "dynamic": DYNAMIC, "ldcache": LDCACHE, "link": LINK,
    "prepare": PREPARE, "relocate": RELOCATE, "symbol": SYMBOL,
}  # fmt: skip


@pytest.mark.parametrize("stub", KERNELS.values(), ids=KERNELS)
def test_kernels_are_their_assembly(stub: Stub, tmp_path: Path) -> None:
    if not shutil.which("x86_64-linux-gnu-as"):
        pytest.skip("no x86_64-linux-gnu-as")
    source, objfile, flat = tmp_path / "s.s", tmp_path / "s.o", tmp_path / "s.bin"
    source.write_text("\n".join((*stub.assembly, "")))
    subprocess.run(["x86_64-linux-gnu-as", "--64", "-o", objfile, source], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", objfile, flat], check=True)
    assert flat.read_bytes() == stub.code


def test_assembly_is_made_of_the_c() -> None:
    """What the compiler that is named there makes of the C in the docstrings."""
    version = subprocess.run(
        ["gcc", "-dumpfullversion"], capture_output=True, text=True, check=False
    ).stdout
    if not version.startswith("12.2"):
        pytest.skip(f"gcc 12.2 is wanted, not {version.strip() or 'none'}")
    script = Path(__file__).parents[2] / "scripts/machine-code"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr

"""Facts about the CPUs, checked where another program or this machine knows them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from rtld.arch import ARCHES, arch_for, by_name, host
from rtld.arch.base import Arch, Tls, cpu, host_cpu, legacy_subdirectories

EF_ARM_HARD, EF_ARM_SOFT = 0x05000400, 0x05000200


@pytest.mark.parametrize("name", ARCHES)
def test_found_by_header(name: str) -> None:
    machine, bits, order = ARCHES[name]
    arch = by_name(name)
    assert (arch.machine, arch.bits, arch.orders[0]) == (machine, bits, order)
    flags = {"arm": EF_ARM_HARD, "riscv64": 4}.get(name, 0)
    assert arch_for(machine, bits, order, flags) is arch
    assert arch.name == name
    assert arch.word * 8 == arch.bits


def test_flags_choose_the_abi() -> None:
    soft = arch_for(40, 32, "<", EF_ARM_SOFT)
    assert soft is not None
    assert (soft.soname, soft.cache_flags, soft.lib) == (
        "ld-linux.so.3",
        0x0B03,
        "lib/arm-linux-gnueabi",
    )
    riscv = arch_for(243, 64, "<", 0)
    assert riscv is not None
    assert riscv.interpreters == ("/lib/ld-linux-riscv64-lp64.so.1",)
    nan = arch_for(8, 64, "<", 0x400)
    assert nan is not None
    assert nan.cache_flags == 0x0E03
    assert arch_for(21, 64, "<", 1) is None  # ELFv1
    assert arch_for(21, 64, "<", 2) is by_name("ppc64le")
    assert arch_for(62, 32, "<") is None  # x32
    assert arch_for(2, 32, ">") is None  # SPARC
    assert arch_for(183, 64, ">") is by_name("aarch64")


def test_an_arch_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        by_name("x86_64").bits = 32
    with pytest.raises(TypeError, match="unknown"):
        Arch(**{name: getattr(by_name("x86_64"), name) for name in Arch.__slots__}, colour="red")
    with pytest.raises(KeyError):
        by_name("pdp11")


@pytest.mark.parametrize("name", ARCHES)
def test_loads_without_numpy_and_other_heavy_modules(name: str) -> None:
    code = (
        f"import sys; before = set(sys.modules); import rtld.arch; rtld.arch.by_name({name!r})\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    # -I keeps a test runner's site hooks out; the path to the package is added by hand.
    path = os.path.dirname(os.path.dirname(sys.modules["rtld"].__path__[0]))
    path = os.path.join(path, "src")
    code = f"import sys; sys.path.insert(0, {path!r})\n{code}"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"numpy", "typing", "dataclasses", "enum", "re", "pathlib", "inspect", "collections"}
    assert not heavy & set(loaded)
    others = {other for other in ARCHES if other != name and f"rtld.arch.{other}" in loaded}
    assert not others


def test_the_host_is_known() -> None:
    arch = host()
    assert arch.bits == sys.maxsize.bit_length() + 1


LD_SO = "/lib64/ld-linux-x86-64.so.2"
needs_ld_so = pytest.mark.skipif(
    not os.path.exists(LD_SO) or host().name != "x86_64", reason="not an x86-64 glibc system"
)


@pytest.mark.live
@needs_ld_so
def test_subdirectories_are_those_ld_so_searches() -> None:
    """The search path ld.so prints, for a directory that has nothing in it."""
    env = {"LD_DEBUG": "libs", "LD_LIBRARY_PATH": "/nonexistent"}
    run = subprocess.run(["/bin/true"], env=env, capture_output=True, text=True, check=True)
    match = re.search(r"search path=(\S+)\s+\(LD_LIBRARY_PATH\)", run.stderr)
    assert match is not None
    searched = match.group(1).split(":")
    arch = host()
    legacy = "/nonexistent/tls" in searched  # until glibc 2.36
    ours = ["/nonexistent/" + sub for sub in arch.library_subdirs(host_cpu(), legacy=legacy)]
    assert [path.rstrip("/") for path in ours] == searched


@pytest.mark.live
@needs_ld_so
def test_default_directories_are_those_of_ld_so() -> None:
    run = subprocess.run([LD_SO, "--help"], env={}, capture_output=True, text=True, check=True)
    found = re.findall(r"^  (/\S+) \(system search path\)", run.stdout, re.MULTILINE)
    arch = host()
    assert tuple(found) in {arch.default_dirs, arch.upstream_dirs}
    platform = re.search(r"^  (\S+) \(AT_PLATFORM;", run.stdout, re.MULTILINE)
    if platform:
        assert arch.platform_of(host_cpu()) == platform.group(1)


CROSS = {
    "aarch64": ("aarch64-linux-gnu", 0),
    "arm": ("arm-linux-gnueabihf", EF_ARM_HARD),
    "i386": ("i686-linux-gnu", 0),
    "riscv64": ("riscv64-linux-gnu", 4),
    "s390x": ("s390x-linux-gnu", 0),
    "ppc64le": ("powerpc64le-linux-gnu", 2),
    "mips64el": ("mips64el-linux-gnuabi64", 0),
}


@pytest.mark.live
@pytest.mark.parametrize("name", CROSS)
def test_cross_ld_so_has_these_directories_and_this_name(name: str) -> None:
    triplet, flags = CROSS[name]
    arch = arch_for(*ARCHES[name], flags)
    assert arch is not None
    path = f"/usr/{triplet}/lib/{arch.soname}"
    if not os.path.exists(path):
        path = f"/usr/{triplet}/lib64/{arch.soname}"
    if not os.path.exists(path):
        if os.environ.get("RTLD_REQUIRE") == "all":
            pytest.fail(f"no {path}: install libc6-*-cross")
        pytest.skip(f"no {path}")
    with open(path, "rb") as stream:
        data = stream.read()
    assert data[18:20] == arch.machine.to_bytes(2, "little" if arch.orders[0] == "<" else "big")
    for directory in arch.default_dirs:
        assert directory.encode() + b"/\0" in data
    assert b"\0" + arch.lib.encode() + b"\0" in data
    for level in arch.hwcaps:
        assert level.encode() in data


def test_levels_of_a_cpu() -> None:
    x86 = by_name("x86_64")
    v1 = "cmov cx8 fpu fxsr mmx sse sse2"
    v2 = v1 + " cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2"
    v3 = v2 + " avx avx2 f16c fma abm movbe bmi1 bmi2"
    v4 = v3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
    assert x86.active_hwcaps(cpu()) == ()
    assert x86.active_hwcaps(cpu(v1)) == ()
    assert x86.active_hwcaps(cpu(v2)) == ("x86-64-v2",)
    assert x86.active_hwcaps(cpu(v4)) == ("x86-64-v4", "x86-64-v3", "x86-64-v2")
    gap = cpu(v4.replace("popcnt ", ""))
    assert x86.active_hwcaps(gap) == ()
    intel, amd = cpu(v3, "GenuineIntel", platform="x86_64"), cpu(v3, "AuthenticAMD")
    assert x86.platform_of(intel) == "haswell"
    assert x86.platform_of(amd) == "x86_64"
    assert x86.library_subdirs(amd)[-4:] == ("x86_64/x86_64", "x86_64", "x86_64", "")
    assert by_name("i386").library_subdirs()[0] == "tls/i686/sse2"
    assert by_name("s390x").active_hwcaps(cpu(hwcap=0b11111 << 11)) == ("z14", "z13")
    power = cpu(hwcap2=0x00800000 | 0x00400000)
    assert by_name("ppc64le").active_hwcaps(power) == ("power9",)
    assert by_name("ppc64le").library_subdirs()[0] == "tls/power8/altivec/dfp"
    assert by_name("aarch64").library_subdirs(legacy=False) == ("",)


def test_power_set_order() -> None:
    assert legacy_subdirectories(("a", "tls")) == ("tls/a", "tls", "a", "")
    assert len(legacy_subdirectories(tuple("abcdefgh"))) == 256


def test_flags_that_do_not_mix() -> None:
    arm, riscv = by_name("arm").compatible, by_name("riscv64").compatible
    assert arm(EF_ARM_HARD, EF_ARM_HARD) is None
    assert arm(EF_ARM_HARD, 0x05000000) is None
    assert arm(EF_ARM_HARD, EF_ARM_SOFT) == "soft-float ABI, the program's is hard-float"
    assert arm(EF_ARM_SOFT, EF_ARM_HARD) == "hard-float ABI, the program's is soft-float"
    assert riscv(5, 4) is None
    assert riscv(4, 0) == "soft-float ABI, the program's is double-float"
    ppc, mips = by_name("ppc64le").compatible, by_name("mips64el").compatible
    assert ppc(2, 2) is ppc(2, 0) is ppc(0, 2) is None
    assert "ELFv1" in str(ppc(2, 1))
    assert "NaN" in str(mips(0, 0x400))
    assert "FP64" in str(mips(0, 0x200))
    assert by_name("x86_64").compatible(0, 7) is None


def test_r_info() -> None:
    for name in ARCHES:
        arch = by_name(name)
        for number in arch.relocs:
            info = arch.rinfo.join(0x1234, number)
            assert arch.rinfo.split(info) == (0x1234, number)
            column = np.array([info], f"u{arch.word}")
            symbol, types = arch.rinfo.split(column)
            assert (int(symbol[0]), int(types[0])) == (0x1234, number)
    # From Debian's mips64el libc.so.6: R_MIPS_REL32, then R_MIPS_64, against symbol 3052.
    raw = bytes.fromhex("ec0b0000 00 00 12 03")
    assert by_name("mips64el").rinfo.split(int.from_bytes(raw, "little")) == (3052, 0x1203)


@pytest.mark.parametrize(
    ("name", "memsz", "align", "first", "place"),
    [
        ("x86_64", 0x18, 8, 0, -0x18),
        ("x86_64", 0x14, 16, 0, -0x20),
        ("x86_64", 0x14, 0, 0, -0x14),
        ("x86_64", 0x14, 16, 8, -0x18),
        ("aarch64", 8, 8, 0, 16),
        ("aarch64", 8, 64, 0, 64),
        ("aarch64", 8, 64, 16, 16),
        ("arm", 4, 4, 0, 8),
        ("riscv64", 8, 8, 0, 0),
        ("mips64el", 8, 8, 0, 0),
    ],
)
def test_where_the_first_tls_block_stands(
    name: str, memsz: int, align: int, first: int, place: int
) -> None:
    tls = by_name(name).tls
    assert tls.place_first(memsz, align, first) == place
    assert (place - first) % (align or 1) == 0


@pytest.mark.parametrize("memsz", range(1, 40))
@pytest.mark.parametrize("first", [0, 8, 16, 24])
def test_first_block_is_congruent_and_clear_of_the_tcb(memsz: int, first: int) -> None:
    for name in ARCHES:
        tls: Tls = by_name(name).tls
        place = tls.place_first(memsz, 32, first)
        assert (place - first) % 32 == 0
        if tls.variant == 1:
            assert place >= tls.tcb_size
        else:
            assert place + memsz <= 0


def test_local_entry_points() -> None:
    entry = by_name("ppc64le").local_entry
    assert entry is not None
    assert [entry(code << 5) for code in range(7)] == [0, 0, 4, 8, 16, 32, 64]


def test_branch_hints_of_power() -> None:
    """ADDR14_BRTAKEN and BRNTAKEN as ld.so rewrites them (sysdeps/powerpc/powerpc64/dl-machine.h)."""
    rows = by_name("ppc64le").relocs
    for number, taken in ((8, 1), (9, 0)):
        field = rows[number].field
        assert field is not None
        for bo in range(32):
            insn = 16 << 26 | bo << 21
            want = insn & ~(1 << 21) | taken << 21 | 0x1230
            if want & (0x14 << 21) == 0x04 << 21:
                want |= 0x02 << 21
            elif want & (0x14 << 21) == 0x10 << 21:
                want |= 0x08 << 21
            assert field.encode(insn, 0x1230) == want

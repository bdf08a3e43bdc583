"""Which compiler, which C library, which emulator: what there is for each CPU, and how to run what it makes.

A cross-compiled program gets its dynamic linker's absolute path as PT_INTERP and its libraries through LD_LIBRARY_PATH,
so that ld.so (under qemu-user) and rtld see the same files and no sysroot has to be redirected.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Target(NamedTuple):
    """A CPU with a C library: what to compile with and how to start the result."""

    name: str  # as in the `arch` directive; musl targets end in "-musl"
    arch: str
    libc: str  # "glibc" or "musl"
    triplet: str
    cc: str
    cxx: str
    interp: str
    qemu: str  # "" where the host runs it

    @property
    def native(self) -> bool:
        """The host starts its programs without an emulator and without a sysroot."""
        return self.arch == HOST

    @property
    def libraries(self) -> str:
        """Where a cross compiler's C library lives; empty for the host's own."""
        return f"/usr/{self.triplet}/lib" if self.interp else ""


HOST = os.uname().machine


def _cross(arch: str, triplet: str, loader: str, qemu: str) -> Target:
    if arch == HOST:
        return Target(arch, arch, "glibc", triplet, "gcc", "g++", "", "")
    tools = f"{triplet}-gcc", f"{triplet}-g++"
    return Target(arch, arch, "glibc", triplet, *tools, f"/usr/{triplet}/{loader}", qemu)


# fmt: off
_ALL = (
    _cross("x86_64",   "x86_64-linux-gnu",        "lib/ld-linux-x86-64.so.2",        "qemu-x86_64"),
    _cross("i386",     "i686-linux-gnu",          "lib/ld-linux.so.2",               "qemu-i386"),
    _cross("aarch64",  "aarch64-linux-gnu",       "lib/ld-linux-aarch64.so.1",       "qemu-aarch64"),
    _cross("arm",      "arm-linux-gnueabihf",     "lib/ld-linux-armhf.so.3",         "qemu-arm"),
    _cross("riscv64",  "riscv64-linux-gnu",       "lib/ld-linux-riscv64-lp64d.so.1", "qemu-riscv64"),
    _cross("s390x",    "s390x-linux-gnu",         "lib/ld64.so.1",                   "qemu-s390x"),
    _cross("ppc64le",  "powerpc64le-linux-gnu",   "lib/ld64.so.2",                   "qemu-ppc64le"),
    _cross("mips64el", "mips64el-linux-gnuabi64", "lib64/ld.so.1",                   "qemu-mips64el"),
    _cross("mipsel",   "mipsel-linux-gnu",        "lib/ld.so.1",                     "qemu-mipsel"),
    Target(f"{HOST}-musl", HOST, "musl", f"{HOST}-linux-musl", "musl-gcc", "", "", ""),
)
# fmt: on
TARGETS: dict[str, Target] = {target.name: target for target in _ALL}


def target(arch: str = HOST, libc: str = "glibc") -> Target:
    """The target of that CPU and C library; KeyError if nobody builds for it here."""
    return TARGETS[arch if libc == "glibc" else f"{arch}-{libc}"]


@functools.cache
def runs_here(arch: str) -> bool:
    """Whether the kernel starts programs of ``arch`` itself (an x86-64 kernel usually does i386)."""
    return arch == HOST or (arch == "i386" and HOST == "x86_64" and _kernel_runs_i386())


def _kernel_runs_i386() -> bool:
    loader = TARGETS["i386"].interp
    try:
        return (
            subprocess.run([loader, "--version"], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def missing(want: Target, *, cxx: bool = False, run: bool = True) -> str | None:
    """The first tool that ``want`` lacks on this machine, or None when all is there."""
    compiler = want.cxx if cxx else want.cc
    if not compiler or not shutil.which(compiler):
        return compiler or f"C++ compiler for {want.name}"
    if want.interp and not os.path.exists(want.interp):
        return want.interp
    if run and want.qemu and not runs_here(want.arch) and not shutil.which(want.qemu):
        return want.qemu
    return None


@functools.cache
def version_of(tool: str) -> str:
    """The first line of ``TOOL --version``: part of what a cached build depends on."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def environment(want: Target, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small, fixed environment for a program of ``want``, with ``extra`` on top."""
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", **(extra or {})}
    if want.libraries:
        first = env.get("LD_LIBRARY_PATH")
        env["LD_LIBRARY_PATH"] = f"{first}:{want.libraries}" if first else want.libraries
    return env


def command(
    want: Target, argv: Sequence[str], env: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """``argv`` and ``env`` as they are to be given to execve: with the emulator in front where one is needed.

    qemu itself is a dynamic program: LD_* must reach the emulated program only.
    """
    if runs_here(want.arch) or not want.qemu:
        return list(argv), dict(env)
    wrapped = [want.qemu]
    for key, value in env.items():
        wrapped += ["-E", f"{key}={value}"]
    return [*wrapped, *argv], {k: v for k, v in env.items() if not k.startswith("LD_")}


def run(
    want: Target,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a program of ``want`` with the environment above; output as text, nothing raised for its exit status."""
    full, outer = command(want, argv, environment(want, env))
    return subprocess.run(
        full,
        env=outer,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=timeout,
        check=False,
    )


# ---------------------------------------------------------------------------------------- the build cache


def cache_root() -> Path:
    """Where compiled tests are kept from one run to the next: RTLD_TEST_CACHE or a private temporary directory."""
    root = Path(
        os.environ.get("RTLD_TEST_CACHE")
        or os.path.join(tempfile.gettempdir(), f"rtld-tests-{os.getuid()}")
    )
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to somebody else; set RTLD_TEST_CACHE")
    return root


class CompileError(Exception):
    """A compiler said no; its command and its words."""


def compile_all(key: Iterable[str], commands: Iterable[Sequence[str] | Step]) -> Path:
    """Run ``commands`` in a directory that stands for ``key``, once; the directory is kept and shared.

    Several test processes may ask at the same time: a lock per key makes one of them build.
    """
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:20]
    place = cache_root() / digest
    if (place / ".done").exists():
        return place
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (place / ".done").exists():
            return place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for step in commands:
            if isinstance(step, Step):
                step.act(place)
                continue
            done = subprocess.run(step, cwd=place, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CompileError(f"{' '.join(step)}\n{done.stdout}{done.stderr}")
        (place / ".done").touch()
    return place


class Step:
    """A build step that is not a command: write, remove, link, copy or edit a file in the build directory."""

    def __init__(self, verb: str, name: str, text: str = "") -> None:
        self.verb, self.name, self.text = verb, name, text

    def act(self, place: Path) -> None:
        path = place / self.name
        if self.verb == "remove":
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.verb == "link":
            path.symlink_to(self.text)
        elif self.verb == "copy":
            shutil.copy2(place / self.text, path)
        elif self.verb == "weaken":
            _weaken_version(path, self.text)
        elif self.verb == "strip":
            _drop_section_headers(path)
        else:
            path.write_text(self.text)


def _weaken_version(path: Path, version: str) -> None:
    """Set VER_FLG_WEAK on a needed version, as lld does where all references are weak; binutils never does."""
    text = subprocess.run(
        ["readelf", "-W", "-V", str(path)], capture_output=True, text=True, check=True
    ).stdout
    section = re.search(r"\.gnu\.version_r.*?Offset: 0x([0-9a-f]+)", text, re.DOTALL)
    entry = re.search(rf"0x([0-9a-f]+):\s+Name: {re.escape(version)}\s", text)
    if not section or not entry:
        raise CompileError(f"{path} needs no version {version}")
    data = bytearray(path.read_bytes())
    little = data[5] == 1
    # Elf64_Vernaux: vna_hash (4 bytes), vna_flags (2), ...; the same for ELF32.
    where = int(section[1], 16) + int(entry[1], 16) + 4
    data[where : where + 2] = (2).to_bytes(2, "little" if little else "big")
    path.write_bytes(data)


def _drop_section_headers(path: Path) -> None:
    """Zero e_shoff, e_shnum and e_shstrndx, as sstrip does; what loads the file never looks there."""
    data = bytearray(path.read_bytes())
    offset, offset_size, counts = (40, 8, 58) if data[4] == 2 else (32, 4, 46)
    data[offset : offset + offset_size] = bytes(offset_size)
    data[counts : counts + 6] = bytes(6)  # e_shentsize, e_shnum, e_shstrndx
    path.write_bytes(data)

"""musl for other CPUs: its files from the Debian archive, and a compiler that builds for them out of a cross compiler for glibc.

Fetched once, and kept beside what the tests compile (``toolchain.cache_root``). riscv64 comes from Debian 13, whose start files
the binutils of Debian 12 can read only without their attributes.
"""

from __future__ import annotations

import fcntl
import functools
import re
import shutil
import subprocess
from pathlib import Path

import toolchain
from rtld.debian.deb import Deb
from rtld.debian.sysroot import Archives, Request
from rtld.debian.unpack import Tree
from rtld.errors import RtldError
from rtld.events import Progress
from toolchain import Target

# fmt: off
#: CPU -> Debian's name, musl's triplet, its name in the loader's.
MUSL = {
    "aarch64": ("arm64",   "aarch64-linux-musl",    "aarch64"),
    "arm":     ("armhf",   "arm-linux-musleabihf",  "armhf"),
    "i386":    ("i386",    "i386-linux-musl",       "i386"),
    "riscv64": ("riscv64", "riscv64-linux-musl",    "riscv64"),
    "s390x":   ("s390x",   "s390x-linux-musl",      "s390x"),
}
# fmt: on


class Unavailable(Exception):
    """What is missing."""


@functools.cache
def musl_target(arch: str) -> Target:
    """The target, ready to compile for. Unavailable."""
    cross = toolchain.target(arch)
    lacking = toolchain.missing(cross)
    if lacking:
        raise Unavailable(lacking)
    root = toolchain.cache_root() / f"musl-{arch}"
    with open(f"{root}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / ".done").exists():
            shutil.rmtree(root, ignore_errors=True)
            _make(arch, root, cross)
            (root / ".done").touch()
    _debian, triplet, name = MUSL[arch]
    loader = f"{root}/lib/ld-musl-{name}.so.1"
    return Target(f"{arch}-musl", arch, "musl", triplet, f"{root}/musl-gcc", "", loader, cross.qemu)


def musl_root(arch: str) -> str:
    """Its sysroot."""
    return str(toolchain.cache_root() / f"musl-{arch}")


def _make(arch: str, root: Path, cross: Target) -> None:
    debian, triplet, _name = MUSL[arch]
    try:
        archives = Archives(debian, Request(), Progress())
        # musl-dev wants a compiler for that CPU to run on; there is a cross compiler.
        packages = archives.close(["musl", "musl-dev"], {"gcc": "99:99"})
        paths = archives.download(packages)
    except RtldError as error:
        raise Unavailable(f"musl for {debian}: {error}") from None
    root.mkdir()
    tree = Tree(str(root))
    for package, path in zip(packages, paths, strict=True):
        with Deb(path) as deb:
            tree.unpack(deb.data(), package.url, package.installed_size)
    files = root / "usr/lib" / triplet
    text = (files / "musl-gcc.specs").read_text()
    text = re.sub(rf"/usr/(include|lib)/{re.escape(triplet)}", rf"{root}/usr/\1/{triplet}", text)
    (root / "specs").write_text(text)
    if arch == "riscv64":
        for name in ("Scrt1.o", "crt1.o", "crti.o", "crtn.o"):
            command = [
                f"{cross.triplet}-objcopy",
                "-g",
                "-R",
                ".riscv.attributes",
                str(files / name),
            ]
            subprocess.run(command, check=True)
    script = root / "musl-gcc"
    script.write_text(f'#!/bin/sh\nexec {cross.cc} -specs {root}/specs "$@"\n')
    script.chmod(0o755)

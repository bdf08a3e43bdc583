"""Sysroots for the tests: those of the cross compilers, and Debian ones from the package archive, made once."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

import toolchain
from rtld.debian.fetch import Unreachable
from rtld.debian.sysroot import ARCHITECTURES, Request, create, read_state
from rtld.dlfcn.foreign.namespace import ForeignNamespace
from rtld.errors import RtldError
from rtld.events import Progress

CPUS = ("i386", "x86_64", "arm", "aarch64", "riscv64", "s390x")
PACKAGES = ("zlib1g", "libsqlite3-0", "openssl", "musl")
DEBIAN = {cpu: name for name, cpu in ARCHITECTURES.items()}


@functools.cache
def debian(cpu: str) -> str | None:
    """A Debian system with PACKAGES, or None where the archive cannot be reached."""
    # The cache of compiled cases is kept from run to run; so are these.
    base = toolchain.cache_root()
    root = base / f"debian-{DEBIAN[cpu]}"
    with (base / f"debian-{DEBIAN[cpu]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            state = read_state(str(root))
            if set(PACKAGES) <= state["packages"].keys():
                return str(root)
        except (RtldError, OSError):
            pass
        shutil.rmtree(root, ignore_errors=True)
        request = Request(cache=str(base / "debian-downloads"))
        try:
            create(DEBIAN[cpu], str(root), PACKAGES, request, Progress())
        except (Unreachable, RtldError):
            return None
    return str(root)


def cross(cpu: str) -> str | None:
    """Where the cross compiler's C library is; None if there is none."""
    target = toolchain.target(cpu)
    if toolchain.missing(target, run=False) or not target.interp:
        return None
    return f"/usr/{target.triplet}"


def debian_or_cross(cpu: str) -> str | None:
    """For x86-64 there is no cross compiler here."""
    found = cross(cpu)
    return found if found is not None and os.path.isdir(found) else debian(cpu)


def cxx_library(debian: ForeignNamespace, cpu: str, source: str, folder: Path) -> Path:
    """C++ compiled by clang for every CPU, linked against Debian's libstdc++."""
    target = toolchain.target(cpu)
    text, made, output = folder / "x.cc", folder / "x.o", folder / "libx.so"
    text.write_text(source)
    flags = ["-xc++", "-fPIC", "-O1", "-c"]
    subprocess.run(["clang-14", f"--target={target.triplet}", *flags, text, "-o", made], check=True)
    own = Path(debian.sysroot) / "usr/lib" / debian.world.arch.triplets[0]
    subprocess.run([target.cc, "-shared", "-nostdlib", made, own / "libstdc++.so.6", own / "libgcc_s.so.1", "-o", output,
                    "-Wl,--allow-shlib-undefined", "-Wl,--unresolved-symbols=ignore-all"], check=True)  # fmt: skip
    return output

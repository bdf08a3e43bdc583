"""Sysroots for the tests: those of the cross compilers, and Debian ones from the package archive, made once."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil

import toolchain
from rtld.debian.fetch import Unreachable
from rtld.debian.sysroot import ARCHITECTURES, Request, create, read_state
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

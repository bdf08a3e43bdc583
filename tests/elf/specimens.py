"""Libraries and programs that tests of the decoders take: a spread over this machine's, and other CPUs' libc."""

from __future__ import annotations

import functools
import glob
import os

import toolchain

#: readelf takes seconds over libraries larger than this.
LARGEST = 2_500_000
SPREAD = 36
_DIRECTORIES = ("/lib/*-linux-gnu", "/usr/lib/*-linux-gnu", "/usr/lib/*", "/usr/lib64", "/lib64")


def _elf(path: str) -> bool:
    if not os.path.isfile(path) or not os.access(path, os.R_OK) or os.path.getsize(path) > LARGEST:
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


@functools.cache
def native() -> tuple[str, ...]:
    """Every n-th shared library of the system, each file once, and a few programs."""
    found = sorted({os.path.realpath(p) for d in _DIRECTORIES for p in glob.glob(f"{d}/*.so*")})
    chosen = found[:: max(1, len(found) // SPREAD)]
    chosen += [os.path.realpath(p) for p in ("/bin/ls", "/usr/bin/gdb", "/usr/bin/perl")]
    chosen += [os.path.realpath(p) for p in glob.glob("/lib/*-linux-gnu/libc.so.6")]
    return tuple(path for path in dict.fromkeys(chosen) if _elf(path))


@functools.cache
def foreign() -> tuple[str, ...]:
    """libc, libm and the dynamic linker of every cross tool chain that is there."""
    found = []
    for target in toolchain.TARGETS.values():
        if not target.interp:
            continue
        directory = os.path.dirname(target.interp)
        names = ("libc.so.6", "libm.so.6", os.path.basename(target.interp))
        found += [os.path.realpath(os.path.join(directory, name)) for name in names]
    return tuple(path for path in dict.fromkeys(found) if _elf(path))

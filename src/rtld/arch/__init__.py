"""Architectures as data: one file for each CPU, imported when a file of that CPU is met.

To add one see docs/how-to/architecture.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.arch.base import Arch, Stub

__all__ = ["ARCHES", "KERNELS", "arch_for", "by_name", "host", "kernels"]

# fmt: off
ARCHES = {
    # name            (e_machine, class, byte order)
    "x86_64":         (62,  64, "<"),
    "i386":           (3,   32, "<"),
    "aarch64":        (183, 64, "<"),
    "arm":            (40,  32, "<"),
    "riscv64":        (243, 64, "<"),
    "s390x":          (22,  64, ">"),
    "ppc64le":        (21,  64, "<"),
    "mips64el":       (8,   64, "<"),
    "mipsel":         (8,   32, "<"),
    "loongarch64":    (258, 64, "<"),
}
# fmt: on

# CPUs with machine code for the linker's own work, in <name>_kernels.py; elsewhere numpy does it.
KERNELS = frozenset({"x86_64"})

_BY_FILE = {key: name for name, key in ARCHES.items()}
# The same instruction set and rows in the other byte order (AArch64, ARM).
_BY_FILE |= {(183, 64, ">"): "aarch64", (40, 32, ">"): "arm"}


def by_name(name: str) -> Arch:
    """The architecture called *name* in ARCHES. KeyError if there is none."""
    arch: Arch = _load(name).ARCH
    return arch


def _load(name: str) -> Any:
    if name not in ARCHES:
        raise KeyError(name)
    return __import__(f"rtld.arch.{name}", fromlist=["ARCH"])


def arch_for(machine: int, bits: int, order: str, e_flags: int = 0) -> Arch | None:
    """The architecture of a file, from its ELF header; None if there is no file for it here.

    *e_flags* tells ABIs apart that share everything else: hard and soft float on ARM and RISC-V, the
    NaN encodings of MIPS, and ELFv1 (not known) from ELFv2 on PowerPC64.
    """
    name = _BY_FILE.get((machine, bits, order))
    if name == "ppc64le" and e_flags & 3 == 1:
        return None  # ELFv1, function descriptors: no little-endian system has it
    if name is None:
        return None
    module = _load(name)
    for_flags: Callable[[int], Arch] | None = getattr(module, "for_flags", None)
    arch: Arch = for_flags(e_flags) if for_flags else module.ARCH
    return arch


def host() -> Arch:
    """The architecture of this Python process (not of the kernel: a 32-bit Python is i386)."""
    import os
    import sys

    with open("/proc/self/exe", "rb") as stream:
        header = stream.read(64)
    order = "<" if header[5] == 1 else ">"
    machine = int.from_bytes(header[18:20], sys.byteorder)
    at = 36 if header[4] == 1 else 48
    flags = int.from_bytes(header[at : at + 4], sys.byteorder)
    found = arch_for(machine, 32 if header[4] == 1 else 64, order, flags)
    if found is None:
        from rtld.errors import Unsupported

        raise Unsupported(f"this machine's CPU ({os.uname().machine}) is not known")
    return found


def kernels(name: str) -> dict[str, Stub]:
    """The machine code the architecture called *name* has for the linker's own work, by name; mostly none."""
    if name not in KERNELS:
        return {}
    found: dict[str, Stub] = __import__(f"rtld.arch.{name}_kernels", fromlist=["KERNELS"]).KERNELS
    return found

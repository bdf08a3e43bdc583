"""A CPU as far as it decides where libraries are looked for: hwcaps directories, platform, flags of cache entries.

What a machine has stands in its file in ``arch/``; here is what one CPU of it makes of the search (glibc 2.36
elf/dl-hwcaps.c) and of entries in ld.so.cache (elf/dl-cache.c). glibc 2.37 dropped the legacy directories; the
reference here is 2.36, the last one that searches them.
"""

from __future__ import annotations

import os

from rtld.elf.types import EM_386, EM_MIPS, EM_PPC64, EM_S390, EM_X86_64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rtld.arch.base import Arch, Cpu

# Numbers in the hwcap word of a cache entry: bit of each platform name, and the bits that are platforms
# (glibc sysdeps/*/dl-procinfo.[ch], dl-hwcap.h). ldconfig sets them for files in legacy directories.
# fmt: off
_PLATFORMS: dict[int, tuple[tuple[str, ...], int, int]] = {
    # e_machine: names in order, bit of the first, mask
    EM_X86_64: (("haswell", "xeon_phi"), 50, 0xF << 48),
    EM_386:    (("i586", "i686"), 48, 0x3 << 48),
    EM_S390:   (("g5", "z900", "z990", "z9-109", "z10", "z196", "zEC12", "z13", "z14", "z15", "z16"), 32, 0x7FF << 32),
    EM_PPC64:  (("power4", "ppc970", "power5", "power5+", "power6", "ppc-cell-be", "power6x", "power7", "ppca2", "ppc405",
                 "ppc440", "ppc464", "ppc476", "power8", "power9", "power10"), 32, 0xFFFF << 32),
    EM_MIPS:   (("loongson2e", "loongson2f", "octeon", "octeon2"), 0, (1 << 64) - 1),
}
# Bits of the names that x86 makes up itself (sysdeps/x86/dl-hwcap.h).
_X86_BITS = {"sse2": 0, "x86_64": 1, "avx512_1": 2}
# fmt: on
_HWCAP_TLS = 1 << 63


class Capabilities:
    """One CPU of ``arch`` (None: a machine nothing is known about). ``cpu`` is a ``Cpu`` or a name, see ``capabilities``.

    The CPU is looked at only when a directory or an entry asks for it.
    """

    __slots__ = (
        "_cpu",
        "_level",
        "_names",
        "arch",
        "cache_default",
        "cache_flags",
        "mask",
        "prepend",
        "wanted",
    )

    def __init__(self, arch: Arch | None, cpu: Cpu | str = "native") -> None:
        self.arch = arch
        self._level: int | None = (
            None  # how many glibc-hwcaps subdirectories count, when a name says so
        )
        if isinstance(cpu, str):
            hwcaps = arch.hwcaps if arch is not None else ()
            if cpu in hwcaps:
                self._level = len(hwcaps) - hwcaps.index(cpu)
            elif cpu not in ("native", "baseline"):
                names = ", ".join(("native", "baseline", *hwcaps))
                raise ValueError(f"no CPU {cpu!r}; there are {names}")
        self._cpu: Any = cpu
        self._names: tuple[str, ...] | None = None
        self.cache_default: int = 3 if arch is None else arch.cache_flags
        self.cache_flags = frozenset(
            (1, 3) if arch is None else (arch.cache_flags, *arch.cache_accepts)
        )
        self.mask: int | None = None  # LD_HWCAP_MASK; None: what glibc calls important
        self.prepend: tuple[str, ...] = ()  # --glibc-hwcaps-prepend
        self.wanted: tuple[str, ...] | None = None  # --glibc-hwcaps-mask

    def restrict(self, mask: int | None, prepend: str | None, wanted: str | None) -> Capabilities:
        """This CPU under LD_HWCAP_MASK and the options --glibc-hwcaps-prepend and --glibc-hwcaps-mask."""
        other = Capabilities(self.arch, self._cpu)
        other.mask = mask
        other.prepend = tuple([name for name in (prepend or "").split(":") if name])
        if wanted is not None:
            other.wanted = tuple([name for name in wanted.split(":") if name])
        return other

    @property
    def cpu(self) -> Cpu:
        """The CPU itself."""
        arch = self.arch
        if isinstance(self._cpu, str) and arch is not None:
            if self._level is not None and arch.machine == EM_X86_64:
                from rtld.arch.base import cpu
                from rtld.arch.x86_64 import BASELINE, LEVELS

                # bmi1 and bmi2 are in the psABI's v3, though glibc asks for them only where it chooses "haswell".
                flags = [
                    words
                    for name, words in LEVELS
                    if name in arch.hwcaps[len(arch.hwcaps) - self._level :]
                ]
                extra = "bmi1 bmi2" if self._level >= 2 else ""
                self._cpu = cpu(
                    " ".join([BASELINE, extra, *flags]), "GenuineIntel", platform="x86_64"
                )
            elif self._cpu == "native" and is_native(arch):
                from rtld.arch.base import host_cpu

                self._cpu = host_cpu()
            else:
                self._cpu = arch.baseline
        result: Cpu = self._cpu
        return result

    # -- directories ------------------------------------------------------------------------------

    @property
    def subdirs(self) -> tuple[str, ...]:
        """The glibc-hwcaps names searched, best first."""
        arch = self.arch
        if arch is None or not arch.hwcaps:
            usable: tuple[str, ...] = ()
        elif self._level is not None:
            usable = arch.hwcaps[len(arch.hwcaps) - self._level :]
        else:
            usable = arch.active_hwcaps(self.cpu)
        if self.wanted is not None:
            usable = tuple([name for name in usable if name in self.wanted])
        return self.prepend + usable

    @property
    def platform(self) -> str | None:
        """What $PLATFORM is, and a legacy directory."""
        return None if self.arch is None else self.arch.platform_of(self.cpu)

    @property
    def _capabilities(self) -> dict[str, int]:
        """Name and bit of every capability that makes a legacy directory, weakest first, after LD_HWCAP_MASK."""
        arch = self.arch
        if arch is None:
            return {}
        names = arch.names_of(self.cpu)
        if self.platform is not None:
            names = names[:-1]  # the platform is the last of them
        bits = _X86_BITS
        if arch.legacy_names is None:
            bits = {name: bit for bit, name in arch.legacy_hwcaps.items()}
        return {
            name: bits[name] for name in names if self.mask is None or self.mask >> bits[name] & 1
        }

    @property
    def legacy(self) -> tuple[str, ...]:
        """The names whose every combination is a legacy subdirectory, weakest first."""
        return (*self._capabilities, *([self.platform] if self.platform else []), "tls")

    def directories(self) -> tuple[str, ...]:
        """What is put between a search directory and the file name, in order; the last is "" (_dl_important_hwcaps)."""
        from rtld.arch.base import legacy_subdirectories

        names = [f"glibc-hwcaps/{name}/" for name in self.subdirs]
        names += [name and name + "/" for name in legacy_subdirectories(self.legacy)]
        return tuple(names)

    # -- the cache --------------------------------------------------------------------------------

    @property
    def priorities(self) -> dict[str, int]:
        """The rank of each glibc-hwcaps name in use; 1 is best."""
        ranks: dict[str, int] = {}
        for rank, name in enumerate(self.subdirs, 1):
            ranks.setdefault(name, rank)
        return ranks

    def has_isa_level(self, level: int) -> bool:
        """Whether the CPU has the x86 ISA level a cache entry asks for; 0 is the baseline."""
        arch = self.arch
        if arch is None or arch.machine != EM_X86_64:
            return True
        return level <= (
            self._level if self._level is not None else len(arch.active_hwcaps(self.cpu))
        )

    def accepts(self, hwcap: int) -> bool:
        """Whether an entry of a legacy directory may be used: all its bits are there and the platform is ours."""
        names, first, mask = _PLATFORMS.get(self.arch.machine if self.arch else 0, ((), 0, 0))
        word = sum([1 << bit for bit in self._capabilities.values()])
        if hwcap & ~(word | mask | _HWCAP_TLS):
            return False
        wanted = hwcap & mask
        platform = self.platform
        return not wanted or (platform in names and wanted == 1 << (first + names.index(platform)))


def capabilities(
    machine: int, bits: int, order: str, flags: int = 0, cpu: Cpu | str = "native"
) -> Capabilities:
    """The CPU ``cpu`` of the machine of an ELF header: a Cpu, or the name of one.

    "native" is this computer's CPU, or "baseline" when it is another machine; "baseline" is the least there is; a
    glibc-hwcaps name ("x86-64-v3", "z15") is a CPU of that class. ValueError for any other.
    """
    from rtld.arch import arch_for

    return Capabilities(arch_for(machine, bits, order, flags), cpu)


def is_native(arch: Arch) -> bool:
    """Whether this computer's own CPU runs such programs."""
    host = os.uname().machine
    if arch.machine == EM_386:
        return host in ("x86_64", "i686", "i586", "i386")
    if host.startswith("armv"):
        return arch.name == "arm"
    return host == arch.uname


def hwcap_mask(env: Mapping[str, str]) -> int | None:
    """LD_HWCAP_MASK, or glibc.cpu.hwcap_mask of GLIBC_TUNABLES, as ld.so reads it; None when not set."""
    text = env.get("LD_HWCAP_MASK")
    for setting in env.get("GLIBC_TUNABLES", "").split(":"):
        name, _, value = setting.partition("=")
        if name == "glibc.cpu.hwcap_mask":
            text = value
    if text is None:
        return None
    # strtoul: as many digits as there are.
    digits = text.strip().lower()
    base, allowed = 10, "0123456789"
    if digits.startswith("0x"):
        digits, base, allowed = digits[2:], 16, "0123456789abcdef"
    elif digits.startswith("0"):
        base, allowed = 8, "01234567"
    digits = digits[: len(digits) - len(digits.lstrip(allowed))]
    return int(digits, base) & ((1 << 64) - 1) if digits else 0

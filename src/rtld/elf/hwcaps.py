"""What a CPU can do, as far as it decides where libraries are looked for: glibc-hwcaps, the legacy directories, flags.

Sources: glibc 2.36 elf/dl-hwcaps.c (directories and their order), sysdeps/*/dl-hwcaps-subdirs.c (which are active),
sysdeps/*/dl-procinfo.[ch] and dl-hwcap.h (names of bits and platforms), sysdeps/unix/sysv/linux/*/dl-cache.h (flags of
cache entries), sysdeps/x86/cpu-features.c (how x86 chooses). glibc 2.37 dropped the legacy directories; the reference
here is 2.36, the last one that searches them.
"""

from __future__ import annotations

import os
from collections import namedtuple

from rtld.elf.types import (
    EM_386,
    EM_AARCH64,
    EM_ARM,
    EM_LOONGARCH,
    EM_MIPS,
    EM_PPC64,
    EM_RISCV,
    EM_S390,
    EM_X86_64,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: How one machine's ld.so searches. ``subdirs``: glibc-hwcaps names, best first. ``bits``: hwcap bit -> legacy name,
#: the "important" ones. ``platforms``: name -> bit of the cache's hwcap word, within ``platform_mask``.
Row = namedtuple("Row", "triplet interp flags default platform subdirs bits platforms platform_mask abi_max")

_X86_PLATFORMS = {"i586": 48, "i686": 49, "haswell": 50, "xeon_phi": 51}
_S390_PLATFORMS = {
    name: 32 + i
    for i, name in enumerate(("g5", "z900", "z990", "z9-109", "z10", "z196", "zEC12", "z13", "z14", "z15", "z16"))
}
_POWER_PLATFORMS = {
    name: 32 + i
    for i, name in enumerate(
        ("power4", "ppc970", "power5", "power5+", "power6", "ppc-cell-be", "power6x", "power7")
        + ("ppca2", "ppc405", "ppc440", "ppc464", "ppc476", "power8", "power9", "power10")
    )
}
_S390_BITS = {1: "zarch", 4: "ldisp", 5: "eimm", 6: "dfp", 11: "vx", 13: "vxe", 15: "vxe2"}

# fmt: off
_ROWS = {
    # (e_machine, bits, order): triplet, interpreter, flags of cache entries, the best of them, AT_PLATFORM, ...
    (EM_X86_64, 64, "<"): Row("x86_64-linux-gnu", "/lib64/ld-linux-x86-64.so.2", (0x303,), 0x303, "x86_64",
                              ("x86-64-v4", "x86-64-v3", "x86-64-v2"), {1: "x86_64", 2: "avx512_1"},
                              {"haswell": 50, "xeon_phi": 51}, 0xF << 48, 4),
    (EM_386, 32, "<"): Row("i386-linux-gnu", "/lib/ld-linux.so.2", (1, 3), 3, "i686",
                           (), {0: "sse2"}, {"i586": 48, "i686": 49}, 0x3 << 48, 4),
    (EM_AARCH64, 64, "<"): Row("aarch64-linux-gnu", "/lib/ld-linux-aarch64.so.1", (0xA03,), 0xA03, "aarch64",
                               (), {8: "atomics"}, {}, 0, 3),
    (EM_ARM, 32, "<"): Row("arm-linux-gnueabihf", "/lib/ld-linux-armhf.so.3", (0x903, 3), 3, "v7l",
                           (), {6: "vfp", 12: "neon"}, {}, 0, 3),
    (EM_RISCV, 64, "<"): Row("riscv64-linux-gnu", "/lib/ld-linux-riscv64-lp64d.so.1", (0x1003,), 0x1003, None,
                             (), {}, {}, 0, 4),
    (EM_S390, 64, ">"): Row("s390x-linux-gnu", "/lib/ld64.so.1", (0x403,), 0x403, None,
                            ("z16", "z15", "z14", "z13"), _S390_BITS, _S390_PLATFORMS, 0x7FF << 32, 3),
    (EM_PPC64, 64, "<"): Row("powerpc64le-linux-gnu", "/lib64/ld64.so.2", (0x503,), 0x503, None,
                             ("power10", "power9"), {10: "dfp", 28: "altivec"}, _POWER_PLATFORMS, 0xFFFF << 32, 4),
    (EM_MIPS, 64, "<"): Row("mips64el-linux-gnuabi64", "/lib64/ld.so.1", (0x703,), 0x703, None,
                            (), {}, {"loongson2e": 0, "loongson2f": 1, "octeon": 2, "octeon2": 3}, (1 << 64) - 1, 6),
    (EM_LOONGARCH, 64, "<"): Row("loongarch64-linux-gnu", "/lib64/ld-linux-loongarch-lp64d.so.1", (1, 3, 0x1203), 3,
                                 "loongarch", (), {}, {}, 0, 3),
}
_X86_LEVELS = (
    # What each ISA level adds (x86-64 psABI 3.1.1), in the words of /proc/cpuinfo: pni is SSE3, abm LZCNT.
    ("cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2"),
    ("cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2"),
    ("avx", "avx2", "f16c", "fma", "abm", "movbe"),
    ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
)
# fmt: on
_HASWELL = ("avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "popcnt")
_AVX512_1 = ("avx512cd", "avx512bw", "avx512dq", "avx512vl")


def row_of(machine: int, bits: int, order: str) -> Row:
    """The machine's row, or one with nothing special in it for a machine that has none."""
    return _ROWS.get((machine, bits, order)) or Row("", "", (1, 3), 3, None, (), {}, {}, 0, 3)


class Capabilities:
    """One CPU, as ld.so sees it.

    ``platform`` is $PLATFORM (GLRO(dl_platform)), ``hwcap`` the word the legacy directories are made of, ``active``
    how many of the machine's glibc-hwcaps subdirectories, counted from the worst, are usable, ``isa`` the bit mask of
    x86 ISA levels (None: no such thing on this machine).
    """

    __slots__ = ("active", "cache_default", "cache_flags", "hwcap", "isa", "mask", "platform", "prepend", "row", "wanted")

    def __init__(
        self, row: Row, platform: str | None = None, hwcap: int = 0, active: int = 0, isa: int | None = None
    ) -> None:
        self.row = row
        self.platform = platform
        self.hwcap = hwcap
        self.active = active
        self.isa = isa
        self.cache_flags = frozenset(row.flags)
        self.cache_default: int = row.default
        self.mask = sum([1 << bit for bit in row.bits])  # LD_HWCAP_MASK
        self.prepend: tuple[str, ...] = ()  # --glibc-hwcaps-prepend
        self.wanted: tuple[str, ...] | None = None  # --glibc-hwcaps-mask

    def restrict(self, mask: int | None, prepend: str | None, wanted: str | None) -> Capabilities:
        """This CPU under LD_HWCAP_MASK and the options --glibc-hwcaps-prepend and --glibc-hwcaps-mask."""
        other = Capabilities(self.row, self.platform, self.hwcap, self.active, self.isa)
        if mask is not None:
            other.mask = mask
        if prepend:
            other.prepend = tuple([name for name in prepend.split(":") if name])
        if wanted is not None:
            other.wanted = tuple([name for name in wanted.split(":") if name])
        return other

    # -- directories ------------------------------------------------------------------------------

    @property
    def subdirs(self) -> tuple[str, ...]:
        """The glibc-hwcaps names searched, best first."""
        usable = self.row.subdirs[len(self.row.subdirs) - self.active :]
        if self.wanted is not None:
            usable = [name for name in usable if name in self.wanted]
        return (*self.prepend, *usable)

    @property
    def legacy(self) -> tuple[str, ...]:
        """The names whose every combination is a legacy subdirectory, weakest first."""
        bits = [name for bit, name in sorted(self.row.bits.items()) if self.hwcap & self.mask & (1 << bit)]
        return (*bits, *([self.platform] if self.platform else []), "tls")

    def directories(self) -> tuple[str, ...]:
        """What is put between a search directory and the file name, in order; the last is "" (_dl_important_hwcaps)."""
        names = self.legacy
        result = [f"glibc-hwcaps/{name}/" for name in self.subdirs]
        for chosen in range((1 << len(names)) - 1, -1, -1):
            picked = [names[i] + "/" for i in range(len(names) - 1, -1, -1) if chosen >> i & 1]
            result.append("".join(picked))
        return tuple(result)

    # -- the cache --------------------------------------------------------------------------------

    @property
    def priorities(self) -> dict[str, int]:
        """The rank of each glibc-hwcaps name in use; 1 is best."""
        ranks: dict[str, int] = {}
        for rank, name in enumerate(self.subdirs, 1):
            ranks.setdefault(name, rank)
        return ranks

    def has_isa_level(self, level: int) -> bool:
        """Whether the CPU has the ISA level a cache entry asks for."""
        return self.isa is None or bool(self.isa >> level & 1)

    def accepts(self, hwcap: int) -> bool:
        """Whether an entry of a legacy directory may be used: all its bits are there and the platform is ours."""
        mask = self.row.platform_mask
        allowed = (self.hwcap & self.mask) | mask | 1 << 63
        if hwcap & ~allowed:
            return False
        bit = self.row.platforms.get(self.platform)
        return not hwcap & mask or (bit is not None and hwcap & mask == 1 << bit)


def capabilities(machine: int, bits: int, order: str, cpu: str = "native") -> Capabilities:
    """The CPU ``cpu`` of a machine: "native" (this computer's, or "baseline" elsewhere), "baseline", a glibc-hwcaps name.

    Raises ValueError for a name the machine does not have.
    """
    row = row_of(machine, bits, order)
    if cpu == "native":
        if is_native(machine, bits):
            return _detect(machine, row)
        cpu = "baseline"
    if cpu != "baseline" and cpu not in row.subdirs:
        raise ValueError(f"no CPU {cpu!r}, expected native, baseline" + "".join(f", {n}" for n in row.subdirs))
    active = 0 if cpu == "baseline" else len(row.subdirs) - row.subdirs.index(cpu)
    if machine == EM_X86_64:
        # x86-64-v3 is what the legacy name haswell stands for, v4 what avx512_1 does.
        platform = "haswell" if active >= 2 else "x86_64"
        return Capabilities(row, platform, 2 | 4 * (active == 3), active, (2 << active) - 1)
    return Capabilities(row, row.platform, 1 if machine == EM_386 else 0, active, 1 if machine == EM_386 else None)


def is_native(machine: int, bits: int) -> bool:
    """Whether this computer's own CPU runs such programs."""
    host = os.uname().machine
    if host == "x86_64":
        return machine == EM_X86_64 or (machine == EM_386 and bits == 32)
    names = {EM_AARCH64: "aarch64", EM_S390: "s390x", EM_PPC64: "ppc64le", EM_RISCV: "riscv64", EM_LOONGARCH: "loongarch64"}
    names |= {EM_386: "i686", EM_ARM: "armv7l", EM_MIPS: "mips64"}
    return names.get(machine) == host


def _detect(machine: int, row: Row) -> Capabilities:
    if machine in (EM_X86_64, EM_386):
        return _detect_x86(machine, row)
    hwcap, hwcap2 = auxiliary_vector()
    active = 0
    if machine == EM_S390:
        # VX; VXD VXE GS; VXRS_EXT2 VXRS_PDE; VXRS_PDE2
        for need in (1 << 11, 1 << 12 | 1 << 13 | 1 << 14, 1 << 15 | 1 << 16, 1 << 19):
            if hwcap & need != need:
                break
            active += 1
    elif machine == EM_PPC64:
        # ARCH_3_00 IEEE128; ARCH_3_1 MMA
        for need in (0x00800000 | 0x00400000, 0x00040000 | 0x00020000):
            if hwcap2 & need != need:
                break
            active += 1
    return Capabilities(row, os.uname().machine if machine == EM_ARM else row.platform, hwcap, active)


def _detect_x86(machine: int, row: Row) -> Capabilities:
    """x86: by feature flags, and only Intel's CPUs get a platform name (glibc: init_cpu_features)."""
    vendor, flags = _cpuinfo()
    has = flags.issuperset
    active = -1
    for level in _X86_LEVELS:
        if not has(level):
            break
        active += 1
    isa = (2 << active) - 1 if active >= 0 else 0
    active = max(active, 0)
    if machine == EM_386:
        platform = "i686" if "cmov" in flags else "i586" if "cx8" in flags else row.platform
        return Capabilities(row, platform, 1 if "sse2" in flags else 0, 0, isa)
    platform, hwcap = row.platform, 2
    if vendor == "GenuineIntel":
        if "avx512cd" in flags and "avx512er" in flags:
            platform = "xeon_phi" if "avx512pf" in flags else platform
        elif has(_AVX512_1):
            hwcap |= 4
        if platform != "xeon_phi" and has(_HASWELL):
            platform = "haswell"
    return Capabilities(row, platform, hwcap, active, isa)


def _cpuinfo() -> tuple[str, frozenset[str]]:
    """(vendor, feature flags) of the first CPU in /proc/cpuinfo; the kernel lists only what programs may use."""
    vendor, flags = "", frozenset[str]()
    try:
        fd = os.open("/proc/cpuinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return vendor, flags
    try:
        text = os.read(fd, 8192).decode("ascii", "replace")
    finally:
        os.close(fd)
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        name = name.strip()
        if name == "vendor_id":
            vendor = value.strip()
        elif name == "flags":
            return vendor, frozenset(value.split())
    return vendor, flags


def auxiliary_vector() -> tuple[int, int]:
    """(AT_HWCAP, AT_HWCAP2) of this process."""
    import struct

    try:
        with open("/proc/self/auxv", "rb") as file:
            raw = file.read()
    except OSError:
        return 0, 0
    form = "LL"
    values = dict(struct.iter_unpack(form, raw[: len(raw) // struct.calcsize(form) * struct.calcsize(form)]))
    return values.get(16, 0), values.get(26, 0)


def hwcap_mask(env: Mapping[str, str]) -> int | None:
    """LD_HWCAP_MASK, or glibc.cpu.hwcap_mask of GLIBC_TUNABLES, as ld.so reads it; None when not set."""
    text = env.get("LD_HWCAP_MASK")
    for setting in env.get("GLIBC_TUNABLES", "").split(":"):
        name, _, value = setting.partition("=")
        if name == "glibc.cpu.hwcap_mask":
            text = value
    if not text:
        return None
    digits = text.lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    try:
        return int(digits, base) & ((1 << 64) - 1)
    except ValueError:
        return None

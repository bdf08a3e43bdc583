"""What a CPU is to a dynamic linker: `Arch`, its parts, and machine code as text.

No numpy, no typing, no dataclasses at module level: these files are read by every command.
"""

from __future__ import annotations

from rtld.core.reloc import Action
from rtld.core.terms import TP, A, B, M, S, T

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from rtld.core.reloc import Reloc
    from rtld.core.terms import Expr

__all__ = [
    "Arch",
    "Cpu",
    "Got",
    "ImplicitGot",
    "RelocTypes",
    "Rinfo",
    "Stub",
    "Tls",
    "cpu",
    "host_cpu",
    "legacy_subdirectories",
    "variant_of",
]  # fmt: skip


class _Record:
    """A plain record: fields are __slots__, given by keyword, and not changed afterwards."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, **fields: Any) -> None:
        missing = [name for name in self.__slots__ if name not in fields]
        unknown = [name for name in fields if name not in self.__slots__]
        if missing or unknown:
            raise TypeError(f"{type(self).__name__}: missing {missing}, unknown {unknown}")
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted")

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


class Tls(_Record):
    """Where thread-local blocks stand (Drepper, "ELF Handling For Thread-Local Storage").

    variant     1: blocks above the thread pointer, the main program's first; 2: below it, its last
    tcb_size    variant 1: bytes at the start of the static area that belong to the libc (the two
                words of the TCB on AArch64 and ARM); the first block starts at or after them.
                variant 2: 0, the first block ends at the thread pointer
    tp_bias     the thread pointer register stands this far above the place TP is counted from
    dtp_bias    what DTPREL values are short of, and __tls_get_addr adds
    register    what holds the thread pointer
    descriptor  order of the words of a TLS descriptor: "entry", "argument"; () if there are none
    """

    __slots__ = ("descriptor", "dtp_bias", "register", "tcb_size", "tp_bias", "variant")

    variant: int
    tcb_size: int
    tp_bias: int
    dtp_bias: int
    register: str
    descriptor: tuple[str, ...]

    def place_first(self, memsz: int, align: int, first_byte: int = 0) -> int:
        """TP of the block that is laid out first, the main program's if it has PT_TLS.

        *first_byte* is p_vaddr mod p_align: the block's start must be congruent to it
        (glibc: _dl_determine_tlsoffset, elf/dl-tls.c). Later blocks: rtld.elf.tls.
        """
        align = align or 1
        lead = -first_byte & (align - 1)
        if self.variant == 2:
            size = memsz - lead
            return -((size + align - 1) // align * align + lead)
        start = (self.tcb_size + align - 1) // align * align
        if start - self.tcb_size < lead:
            start += align
        return start - lead


class Got(_Record):
    """What DT_PLTGOT points to, and which words of it belong to the dynamic linker.

    reserved       words before the first symbol's slot
    resolver       index of the word that holds the address of the binder
    link_map       index of the word that identifies the module to the binder
    lazy_slots     "add base": a slot's link-time value is the address of its PLT entry, add B;
                   "computed": the linker fills slots itself (PowerPC64 glink); "stub": MIPS
    at_binder      state at the binder's entry, in prose
    """

    __slots__ = ("at_binder", "lazy_slots", "link_map", "reserved", "resolver")

    reserved: int
    resolver: int
    link_map: int
    lazy_slots: str
    at_binder: str


class ImplicitGot(_Record):
    """A GOT relocated without relocation records (MIPS): see arch/mips64el.py."""

    __slots__ = (
        "DT_GOTSYM", "DT_LOCAL_GOTNO", "DT_PLTGOT", "DT_RLD_MAP", "DT_RLD_MAP_REL", "DT_SYMTABNO",
        "STO_PLT", "gnu_mask", "gp_offset",
    )  # fmt: skip

    DT_LOCAL_GOTNO: int
    DT_SYMTABNO: int
    DT_GOTSYM: int
    DT_PLTGOT: int
    DT_RLD_MAP: int
    DT_RLD_MAP_REL: int
    STO_PLT: int
    gnu_mask: int
    gp_offset: int


class Rinfo(_Record):
    """How r_info holds a symbol index and relocation types, as (lowest bit, number of bits).

    MIPS64 packs three one-byte types, applied one after the other; they are numbered as one type,
    the first in the lowest byte.
    """

    __slots__ = ("symbol", "types")

    symbol: tuple[int, int]
    types: tuple[tuple[int, int], ...]

    def split(self, info: Any) -> tuple[Any, Any]:
        """(symbol, type) of an integer, or of an unsigned array, r_info."""
        low, bits = self.symbol
        symbol = info >> low & ((1 << bits) - 1)
        number: Any = 0
        at = 0
        for low, bits in self.types:
            number = number | (info >> low & ((1 << bits) - 1)) << at
            at += bits
        return symbol, number

    def join(self, symbol: int, number: int) -> int:
        """The r_info with this symbol and type."""
        info = symbol << self.symbol[0]
        for low, bits in self.types:
            info |= (number & ((1 << bits) - 1)) << low
            number >>= bits
        return info


RINFO32 = Rinfo(symbol=(8, 24), types=((0, 8),))
RINFO64 = Rinfo(symbol=(32, 32), types=((0, 32),))


class RelocTypes:
    """Numbers by meaning, derived from the rows' formulas and actions; None if the CPU has none.

    symbolic is a word holding S + A; where the ABI has no GLOB_DAT of its own, symbolic plays it.
    """

    __slots__ = (
        "copy", "dtpmod", "dtpoff", "glob_dat", "irelative", "jump_slot", "none", "relative",
        "symbolic", "tlsdesc", "tpoff",
    )  # fmt: skip

    def __init__(self, rows: Mapping[int, Reloc], bits: int) -> None:
        word = bits // 8

        def first(match: Callable[[Reloc], bool]) -> int | None:
            return next((row.number for row in rows.values() if match(row)), None)

        def stored(row: Reloc) -> bool:
            return row.action == Action.STORE and row.width == word and row.field is None

        self.none = first(lambda row: row.action == Action.NONE)
        self.relative = first(lambda row: stored(row) and row.value == B + A)
        self.symbolic = first(
            lambda row: stored(row) and row.value == S + A and "GLOB_DAT" not in row.name
        )
        glob_dat = first(lambda row: "GLOB_DAT" in row.name)
        self.glob_dat = self.symbolic if glob_dat is None else glob_dat
        self.jump_slot = first(lambda row: row.action == Action.JUMP_SLOT)
        self.copy = first(lambda row: row.action == Action.COPY)
        self.irelative = first(lambda row: row.name.endswith("IRELATIVE"))
        self.tlsdesc = first(lambda row: row.action == Action.TLSDESC)
        self.dtpmod = first(lambda row: row.value == M)
        self.dtpoff = first(lambda row: stored(row) and T in row.value and TP not in row.value)
        self.tpoff = first(lambda row: stored(row) and ("TP", 1) in row.value.terms)


class Cpu(_Record):
    """The CPU a program would run on, as far as library search depends on it.

    flags: names in /proc/cpuinfo (x86); vendor likewise; hwcap, hwcap2, platform: AT_HWCAP,
    AT_HWCAP2, AT_PLATFORM of the auxiliary vector.
    """

    __slots__ = ("flags", "hwcap", "hwcap2", "platform", "vendor")

    flags: frozenset[str]
    vendor: str
    hwcap: int
    hwcap2: int
    platform: str | None


def cpu(
    flags: str = "", vendor: str = "", hwcap: int = 0, hwcap2: int = 0, platform: str | None = None
) -> Cpu:
    """A Cpu with everything else absent."""
    return Cpu(
        flags=frozenset(flags.split()), vendor=vendor, hwcap=hwcap, hwcap2=hwcap2, platform=platform
    )


def host_cpu(cpuinfo: str = "/proc/cpuinfo", auxv: str = "/proc/self/auxv") -> Cpu:
    """The CPU this process runs on. What cannot be read counts as absent."""
    import ctypes
    import sys

    flags = vendor = ""
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                name = name.strip()
                if name == "vendor_id" and not vendor:
                    vendor = value.strip()
                elif name in {"flags", "Features", "features"}:
                    flags = value
                    break  # of the first processor; the kernel lists what is common to all
    except OSError:
        pass
    try:
        with open(auxv, "rb") as stream:
            raw = stream.read()
    except OSError:
        raw = b""
    size = ctypes.sizeof(ctypes.c_void_p)
    numbers = [
        int.from_bytes(raw[at : at + size], sys.byteorder) for at in range(0, len(raw), size)
    ]
    vector = dict(zip(numbers[::2], numbers[1::2], strict=False))
    platform = None
    if vector.get(15):  # AT_PLATFORM: a string on this process's own stack
        platform = ctypes.string_at(vector[15]).decode("ascii", "replace") or None
    return cpu(flags, vendor, vector.get(16, 0), vector.get(26, 0), platform)


def legacy_subdirectories(names: tuple[str, ...]) -> tuple[str, ...]:
    """The power set glibc before 2.37 searched: of *names* in ascending order of importance.

    elf/dl-hwcaps.c: for each subset, from all names down to none, the most important name is the
    outermost directory: ("a", "tls") gives "tls/a", "tls", "a", "".
    """
    count = len(names)
    return tuple(
        "/".join(names[bit] for bit in range(count - 1, -1, -1) if subset >> bit & 1)
        for subset in range((1 << count) - 1, -1, -1)
    )


class Arch(_Record):
    """A CPU as data. One instance for each file of this package.

    name             as in the file name;  uname: what `uname -m` says
    machine          e_machine (EM_*);  bits 32|64;  orders: byte orders the psABI has, "<" and ">"
    page_size        the page size of the usual kernel;  max_page_size: what linkers align for
    osabi            accepted EI_OSABI -> first EI_ABIVERSION refused (glibc 2.36, libc-abis)
    uses_rela        dynamic relocations are RELA, else REL (the other kind is legal, not usual)
    hash_entry_size  bytes of a DT_HASH word; 8 on s390x, though lld writes 4
    rinfo            layout of r_info
    relocs           rows by number;  reloc_types: numbers by meaning
    tls, got         thread-local storage, PLT and GOT;  implicit_got: MIPS, else None
    relasz_includes_jmprel  DT_RELASZ counts the DT_JMPREL records too when they follow directly
    dynamic_relocated       ld.so adds B to addresses in the dynamic section in memory
    interpreters     PT_INTERP of glibc's programs, ours first;  soname: of glibc's ld.so
    musl             $ARCH of /lib/ld-musl-$ARCH.so.1 and /etc/ld-musl-$ARCH.path; several by ABI
    triplets         Debian's multiarch names, ours first
    lib              what $LIB is on Debian;  upstream_lib: as glibc is configured by default
    platform         AT_PLATFORM of the kernel's, what $PLATFORM is when the CPU says no better
    cache_flags      flags of this ABI's entries in ld.so.cache;  cache_accepts: others taken, too
    hwcaps           glibc-hwcaps subdirectories, best first
    legacy_hwcaps    bit of AT_HWCAP -> directory name, for glibc before 2.37 (HWCAP_IMPORTANT)
    baseline         the Cpu to assume for a foreign machine
    count_hwcaps     how many of `hwcaps`, from the last, a Cpu can use
    legacy_names     directory names of a Cpu in glibc's order, without "tls"; None: the general rule
    compatible       (e_flags of the program, e_flags of a library) -> why they do not mix, or None
    local_entry      st_other -> value of the term L (PowerPC64), or None
    registers        role -> name: "sp", "pc", "fini" (_start gets rtld_fini in it, "" if none), ...
    stack_align      of the stack pointer at program entry
    stubs            machine code by name
    """

    __slots__ = (
        "baseline", "bits", "cache_accepts", "cache_flags", "compatible", "count_hwcaps",
        "dynamic_relocated", "got", "hash_entry_size", "hwcaps", "implicit_got", "interpreters",
        "legacy_hwcaps", "legacy_names", "lib", "local_entry", "machine", "max_page_size", "musl",
        "name", "orders", "osabi", "page_size", "platform", "psabi", "registers", "relasz_includes_jmprel",
        "reloc_types", "relocs", "rinfo", "soname", "stack_align", "stubs", "tls", "triplets", "uname",
        "upstream_lib", "uses_rela",
    )  # fmt: skip

    name: str
    uname: str
    psabi: tuple[str, str]
    machine: int
    bits: int
    orders: tuple[str, ...]
    page_size: int
    max_page_size: int
    osabi: Mapping[int, int]
    uses_rela: bool
    hash_entry_size: int
    rinfo: Rinfo
    relocs: Mapping[int, Reloc]
    reloc_types: RelocTypes
    tls: Tls
    got: Got
    implicit_got: ImplicitGot | None
    relasz_includes_jmprel: bool
    dynamic_relocated: bool
    interpreters: tuple[str, ...]
    soname: str
    musl: tuple[str, ...]
    triplets: tuple[str, ...]
    lib: str
    upstream_lib: str
    platform: str | None
    cache_flags: int
    cache_accepts: tuple[int, ...]
    hwcaps: tuple[str, ...]
    legacy_hwcaps: Mapping[int, str]
    baseline: Cpu
    count_hwcaps: Callable[[Cpu], int] | None
    legacy_names: Callable[[Cpu], tuple[str, ...]] | None
    compatible: Callable[[int, int], str | None]
    local_entry: Callable[[int], int] | None
    registers: Mapping[str, str]
    stack_align: int
    stubs: Mapping[str, Stub]

    def __init__(self, **fields: Any) -> None:
        wide = fields["bits"] == 64
        defaults: dict[str, Any] = {
            "page_size": 0x1000,
            "max_page_size": 0x1000,
            "osabi": {0: 1, 3: 4},
            "uses_rela": wide,
            "hash_entry_size": 4,
            "rinfo": RINFO64 if wide else RINFO32,
            "reloc_types": RelocTypes(fields["relocs"], fields["bits"]),
            "implicit_got": None,
            "relasz_includes_jmprel": False,
            "dynamic_relocated": True,
            "lib": f"lib/{fields['triplets'][0]}",
            "cache_accepts": (),
            "hwcaps": (),
            "legacy_hwcaps": {},
            "baseline": cpu(platform=fields.get("platform")),
            "count_hwcaps": None,
            "legacy_names": None,
            "compatible": always_compatible,
            "local_entry": None,
            "stubs": {},
        }
        super().__init__(**(defaults | fields))

    def __repr__(self) -> str:
        return f"<Arch {self.name}>"

    @property
    def word(self) -> int:
        """Bytes of an address."""
        return self.bits // 8

    @property
    def default_dirs(self) -> tuple[str, ...]:
        """Where Debian's ld.so looks last, in this order."""
        return (f"/{self.lib}", f"/usr/{self.lib}", "/lib", "/usr/lib")

    @property
    def upstream_dirs(self) -> tuple[str, ...]:
        """Where an ld.so configured without multiarch looks last."""
        return (f"/{self.upstream_lib}", f"/usr/{self.upstream_lib}")

    def active_hwcaps(self, cpu: Cpu | None = None) -> tuple[str, ...]:
        """The glibc-hwcaps subdirectories that *cpu* (else the baseline) can use, best first."""
        if self.count_hwcaps is None:
            return ()
        count = self.count_hwcaps(cpu or self.baseline)
        return self.hwcaps[len(self.hwcaps) - count :]

    def platform_of(self, cpu: Cpu | None = None) -> str | None:
        """What $PLATFORM expands to on *cpu*."""
        names = self.names_of(cpu or self.baseline)
        if self.legacy_names is not None:
            return names[-1] if names else None
        return (cpu or self.baseline).platform

    def names_of(self, cpu: Cpu) -> tuple[str, ...]:
        """Capability names in ascending order of bits, then the platform (elf/dl-hwcaps.c)."""
        if self.legacy_names is not None:
            return self.legacy_names(cpu)
        names = tuple(name for bit, name in self.legacy_hwcaps.items() if cpu.hwcap >> bit & 1)
        return (*names, cpu.platform) if cpu.platform else names

    def library_subdirs(self, cpu: Cpu | None = None, *, legacy: bool = True) -> tuple[str, ...]:
        """What ld.so appends to each directory it searches, in order; the last is "".

        *legacy*: also the power set that glibc searched until 2.36.
        """
        cpu = cpu or self.baseline
        new = tuple(f"glibc-hwcaps/{name}" for name in self.active_hwcaps(cpu))
        if not legacy:
            return (*new, "")
        return new + legacy_subdirectories((*self.names_of(cpu), "tls"))


def variant_of(arch: Arch, **changes: Any) -> Arch:
    """Another ABI of the same CPU: *arch* with some fields changed."""
    return Arch(**({name: getattr(arch, name) for name in Arch.__slots__} | changes))


def always_compatible(main: int, library: int) -> str | None:
    """For CPUs whose e_flags the dynamic linker does not look at."""
    del main, library
    return None


class Stub:
    """Machine code as text: bytes on the left, assembly on the right, two spaces between.

        Stub('''
            48 8b 40 08   mov  8(%rax), %rax
            c3            ret
        ''')

    *holes* name places to be filled: name -> (offset, formula), 4 or 8 bytes as *width* says. A
    test assembles the right side and compares it with the left, so the text cannot lie.
    """

    __slots__ = ("_text", "code", "holes", "width")

    def __init__(
        self, text: str, holes: Mapping[str, tuple[int, Expr]] | None = None, width: int = 4
    ) -> None:
        self._text = text
        # Only the left side is wanted when it is to be run.
        lines = [line.lstrip() for line in text.splitlines()]
        left = [line.partition("  ")[0] for line in lines if line[:1] != "#"]
        self.code = bytes.fromhex(" ".join(left))
        self.holes = dict(holes or {})
        self.width = width

    @property
    def assembly(self) -> tuple[str, ...]:
        """The right side, a line each."""
        lines = [line.strip() for line in self._text.splitlines()]
        right = [line.partition("  ")[2] for line in lines if not line.startswith("#")]
        return tuple([" ".join(text.split()) for text in right if text.strip()])

    def __len__(self) -> int:
        return len(self.code)

    def fill(
        self, address: int, values: Mapping[str, Mapping[str, int]], order: str = "<"
    ) -> bytes:
        """The code for *address*, each hole's formula evaluated with its terms; P is the hole."""
        code = bytearray(self.code)
        byteorder: Any = "little" if order == "<" else "big"
        for name, (offset, formula) in self.holes.items():
            value = formula.evaluate({"P": address + offset, **values[name]})
            mask = (1 << 8 * self.width) - 1
            code[offset : offset + self.width] = (value & mask).to_bytes(self.width, byteorder)
        return bytes(code)

"""The dynamic anchor: the program that ld.so believes to start, while ours is being linked beside it.

libc and its dynamic linker are one piece of software in two files, and only ld.so can initialise libc. So ld.so is given a
program that needs nothing but members of that family, and whose thread-local storage has room for everybody's. It never
exists as a file: it is written into a process that stands at the first instruction of its interpreter, and the auxiliary
vector leads ld.so to it. At its entry point, an ``int3``, the linker outside takes over.

    head      ELF header, program headers, interpreter's name, dynamic section, symbols; writable, for ld.so writes to it
    code      machine code of arch/x86_64_live.py; one page, readable and executable
    control   one page: the words that this code reads (CONTROL_* below)
    tls       the initial image of the thread-local storage, which new threads are given
    heap      tables and lists, ours to fill from outside

The symbols it exports take precedence over libc's and ld.so's for everything that ld.so itself loads: libraries that libc
opens on its own (NSS, libgcc_s) ask us, not ld.so, about the program's modules.
"""

from __future__ import annotations

import struct

from rtld.arch.x86_64_live import LABELS, LIVE
from rtld.backends.child.calls import RECORD, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = 4096

# Words of the control page.
# fmt: off
CONTROL_SHARED   = 0x00   # address of the memory shared with the linker
CONTROL_STATE    = 0x08   # number of the state the process is in: a forked child inherits it
CONTROL_FIND     = 0x18   # table of _dl_find_object: count, then from + 32: start, end, .eh_frame_hdr, link_map
CONTROL_REAL     = 0x20   # ld.so's _dl_find_object, or 0
CONTROL_OBJECTS  = 0x28   # table of dl_iterate_phdr: count, then from + 64: dl_phdr_info
CONTROL_ADDS     = 0x30
CONTROL_SUBS     = 0x38
CONTROL_ITERATE  = 0x40   # libc's dl_iterate_phdr, or 0
CONTROL_TIMEOUT  = 0x48   # struct timespec
CONTROL_NONCE    = 0x60   # a random number, by which the linker knows its processes
CONTROL_EXITING  = 0x68   # not 0: exit() is calling the termination functions
CONTROL_SOCKET   = 0x70   # without a tracer: the descriptor by which the process says that it waits
CONTROL_FALLBACK = 0x80   # libc's own functions, by number of service: for those who outlive the linker
CONTROL_PARKED   = 0x180  # of a process that waits: rsp, rdx, fs_base, then where to go on: rip, rdi, r12, r13
CONTROL_HIDDEN   = 0x58   # what libc's dl_iterate_phdr is not to tell: count, then dlpi_addr

# Operations of a list besides system calls.
END, CALL, MOVE = -1, -2, -3
# fmt: on

#: The services of the linker, by number.
SERVICES = (
    "dlopen", "dlmopen", "dlsym", "dlvsym", "dlclose", "dlerror", "dladdr", "dladdr1", "dlinfo", "bind",
    "backtrace_symbols", "backtrace_symbols_fd", "init", "begin", "fini",
)  # fmt: skip

#: What calls of these functions are led to: a stub of the anchor.
REPLACED = {name: name for name in SERVICES if name.startswith("dl")} | {
    "backtrace_symbols": "traced",
    "backtrace_symbols_fd": "tracedfd",
    "dl_iterate_phdr": "iterate",
    "_dl_find_object": "find",
}

# <elf.h>
_PT = {"LOAD": 1, "DYNAMIC": 2, "INTERP": 3, "PHDR": 6, "TLS": 7, "STACK": 0x6474E551}
_DT = {
    "NULL": 0, "NEEDED": 1, "HASH": 4, "STRTAB": 5, "SYMTAB": 6, "STRSZ": 10, "SYMENT": 11, "DEBUG": 21,
    "INIT_ARRAY": 25, "FINI_ARRAY": 26, "INIT_ARRAYSZ": 27, "FINI_ARRAYSZ": 28,
}  # fmt: skip
_BUCKETS = 32


class LiveAnchor:
    """An anchor for addresses from *base* on: ``image`` is to be written there, ``size`` bytes are to be mapped.

    needed         what ld.so is to load: paths
    tls            (size, alignment) of the thread-local storage of all other modules
    dormant        further names to export; undefined until ``define`` is called for them
    stack          p_flags of PT_GNU_STACK; None: the program has none
    """

    def __init__(
        self,
        base: int,
        interp: bytes,
        needed: Sequence[bytes],
        tls: tuple[int, int],
        *,
        dormant: Iterable[str] = (),
        stack: int | None = 6,
        heap: int = 1 << 24,
    ) -> None:
        self.base = base
        self._strings = bytearray(b"\0")
        self._names = [*REPLACED, *dormant]
        code_at = (
            -(
                -(
                    0x600
                    + 24 * (len(self._names) + 1)
                    + 16 * len(needed)
                    + self._room(interp, needed)
                )
                // PAGE
            )
            * PAGE
        )
        self.code = base + code_at
        self.control = self.code + PAGE
        self.tls_align = max(tls[1], 16)
        self.tls_size = -(-tls[0] // self.tls_align) * self.tls_align
        self.tls_image = -(-(self.control + 0x200) // self.tls_align) * self.tls_align
        self.heap = -(-(self.tls_image + self.tls_size) // PAGE) * PAGE
        self.size = self.heap - base + heap
        self.image = self._head(interp, needed, stack)
        assert len(self.image) <= code_at
        self.image += bytes(code_at - len(self.image)) + LIVE.code + bytes(PAGE - len(LIVE.code))

    def label(self, name: str) -> int:
        """The address of a piece of the machine code."""
        return self.code + LABELS[name]

    def dynamic(self, name: str) -> int:
        """The address of the value of a DT_* entry."""
        return self._dynamic[name]

    def definition(self, name: str, address: int) -> tuple[int, bytes]:
        """(address, bytes) to write so that *name* is exported with this value."""
        index = self._names.index(name) + 1
        return self._symtab + 24 * index, struct.pack(
            "<IBBHQQ", self._offsets[name], 0x12, 0, 0xFFF1, address, 0
        )

    def _room(self, interp: bytes, needed: Sequence[bytes]) -> int:
        return (
            len(interp)
            + sum(len(n) + 1 for n in needed)
            + sum(len(n) + 1 for n in self._names)
            + 64
        )

    def _string(self, text: bytes) -> int:
        at = len(self._strings)
        self._strings += text + b"\0"
        return at

    def _head(self, interp: bytes, needed: Sequence[bytes], stack: int | None) -> bytes:
        base = self.base
        segments = 5 if stack is None else 6
        interp_at = 64 + 56 * segments
        at = -(-(interp_at + len(interp) + 1) // 16) * 16
        self._symtab = base + at
        self._offsets = {name: self._string(name.encode()) for name in self._names}
        symbols = [bytes(24)]
        for name in self._names:
            if name in REPLACED:
                value = self.label(REPLACED[name])
                symbols.append(
                    struct.pack("<IBBHQQ", self._offsets[name], 0x12, 0, 0xFFF1, value, 0)
                )
            else:
                symbols.append(struct.pack("<IBBHQQ", self._offsets[name], 0x12, 0, 0, 0, 0))
        hashes = sysv_table(self._names)
        hash_at = at + 24 * len(symbols)
        dynamic_at = -(-(hash_at + len(hashes)) // 16) * 16
        entries = [("NEEDED", self._string(name)) for name in needed]
        strings_at = dynamic_at + 16 * (len(entries) + 11)
        entries += [
            ("HASH", base + hash_at), ("STRTAB", base + strings_at), ("SYMTAB", self._symtab),
            ("STRSZ", len(self._strings)), ("SYMENT", 24), ("DEBUG", 0), ("INIT_ARRAY", self.heap),
            ("INIT_ARRAYSZ", 0), ("FINI_ARRAY", self.heap), ("FINI_ARRAYSZ", 0), ("NULL", 0),
        ]  # fmt: skip
        self._dynamic = {
            name: base + dynamic_at + 16 * i + 8 for i, (name, _) in enumerate(entries)
        }
        image = bytearray(b"\x7fELF\2\1\1" + bytes(9))
        image += struct.pack(
            "<HHIQQQIHHHHHH", 2, 62, 1, self.label("start"), 64, 0, 0, 64, 56, segments, 0, 0, 0
        )
        # fmt: off
        image += _segment("PHDR",    4, base, base + 64, 56 * segments)
        image += _segment("INTERP",  4, base, base + interp_at, len(interp) + 1)
        image += _segment("LOAD",    6, base, base, self.size, align=PAGE)
        image += _segment("DYNAMIC", 6, base, base + dynamic_at, 16 * len(entries), align=8)
        image += _segment("TLS",     4, base, self.tls_image, self.tls_size, align=self.tls_align)
        # fmt: on
        if stack is not None:
            image += _segment("STACK", stack, base, 0, 0, align=16)
        image += interp + b"\0"
        image += bytes(at - len(image)) + b"".join(symbols) + hashes
        image += bytes(dynamic_at - len(image))
        image += b"".join(struct.pack("<QQ", _DT[name], value) for name, value in entries)
        return bytes(image + self._strings)


def _segment(kind: str, flags: int, base: int, address: int, size: int, align: int = 1) -> bytes:
    offset = address - base if address else 0
    return struct.pack("<IIQQQQQQ", _PT[kind], flags, offset, address, address, size, size, align)


def sysv_table(names: Sequence[str]) -> bytes:
    """A DT_HASH table of the symbols 1, 2, ... (gABI, "Hash Table")."""
    buckets, chains = [0] * _BUCKETS, [0]
    for index, name in enumerate(names, 1):
        h = 0
        for byte in name.encode():
            h = (h << 4) + byte
            h = (h ^ (h >> 24 & 0xF0)) & 0x0FFFFFFF
        chains.append(buckets[h % _BUCKETS])
        buckets[h % _BUCKETS] = index
    return struct.pack(f"<II{_BUCKETS}I{len(chains)}I", _BUCKETS, len(chains), *buckets, *chains)


class List:
    """A list of calls being written, for ``run`` in the anchor's code; it will stand at *address*."""

    __slots__ = ("address", "final", "records")

    def __init__(self, address: int) -> None:
        self.address = address
        self.final = False  # runs the program's own functions, which may ask for more
        self.records: list[bytes] = []

    def __len__(self) -> int:
        return len(self.records)

    def add(self, number: int, *args: int) -> int:
        """Append a system call, or CALL with function and arguments; returns its index."""
        self.records.append(pack(number, args))
        return len(self.records) - 1

    def use(self, source: int, target: int, argument: int) -> None:
        """Make the result of record *source* an argument of the later record *target*."""
        at = self.address
        self.records.append(
            pack(MOVE, (at + RECORD * target + 8 + 8 * argument, at + RECORD * source + 56))
        )

    def numbers(self) -> list[int]:
        """The number of each record."""
        return [int.from_bytes(record[:4], "little", signed=True) for record in self.records]

    def bytes(self) -> bytes:
        """What is to stand at its address."""
        return b"".join(self.records) + pack(END, ())

    @property
    def size(self) -> int:
        return RECORD * (len(self.records) + 1)


def results(data: bytes) -> list[int]:
    """The results in the bytes of a list that has been worked off, signed."""
    return [
        int.from_bytes(data[at + 56 : at + 64], "little", signed=True)
        for at in range(0, len(data), RECORD)
    ]
